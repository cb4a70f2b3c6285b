"""The profiles that can be asked for, and the live one.

Shipped profiles lie in `profiles/*.yaml`; etcd adds and overrides them under PROFILES_PREFIX
(`/farsight/profiles/<name>` is YAML, `/farsight/profiles/LIVE` names the live one). A profile that
does not parse is counted and refused; the one before it stays.
"""

from collections.abc import Mapping

from farsight.errors import InvalidField
from farsight.log import get_logger
from services.router import metrics
from services.router.plugins import load_all
from services.router.profile import Profile, one_sided, parse, shipped_texts

log = get_logger(__name__)
LIVE_KEY = "LIVE"


class Profiles:
    """Profiles by name; `update` takes what etcd holds."""

    def __init__(self, default: str) -> None:
        self._registry = load_all()
        self._shipped = {
            name: parse(name, text, self._registry) for name, text in shipped_texts().items()
        }
        if default not in self._shipped:
            raise InvalidField("profile", f"one of {sorted(self._shipped)}, not {default!r}")
        self._default = default
        self._live = self._shipped[default]
        self._texts: dict[str, bytes] = {}
        self._added: dict[str, Profile] = {}

    @property
    def live(self) -> str:
        """Name of the live profile."""
        return self._live.name

    @property
    def names(self) -> tuple[str, ...]:
        """Every profile that can be asked for."""
        return tuple(sorted(self._shipped | self._added))

    def get(self, name: str) -> Profile:
        """The named profile; the live one for an empty name.

        :raises InvalidField: there is none of that name.
        """
        if not name:
            return self._live
        profile = self._find(name)
        if profile is None:
            raise InvalidField("profile", f"one of {list(self.names)}, not {name[:64]!r}")
        return profile

    def _find(self, name: str) -> Profile | None:
        return self._added.get(name) or self._shipped.get(name)

    def update(self, values: Mapping[str, bytes]) -> None:
        """Take the mapping under PROFILES_PREFIX."""
        texts = {name: text for name, text in values.items() if name != LIVE_KEY}
        added = {name: kept for name, kept in self._added.items() if name in texts}
        for name, text in texts.items():
            if text != self._texts.get(name):
                self._accept(added, name, text)
        self._texts, self._added = texts, added
        wanted = values.get(LIVE_KEY, self._default.encode()).decode(errors="replace").strip()
        named = self._find(wanted)
        if named is None:
            self._refuse(wanted, f"there is no such profile; known: {self.names}")
            return
        if named.name != self._live.name:
            log.info("profile is live", extra={"profile": wanted})
        self._live = named

    def _accept(self, added: dict[str, Profile], name: str, text: bytes) -> None:
        try:
            added[name] = parse(name, text, self._registry)
        except InvalidField as error:
            self._refuse(name, str(error))
            return
        if side := one_sided(added[name], self._registry):
            log.warning("all weight is on one side", extra={"profile": name, "side": side})

    def _refuse(self, name: str, why: str) -> None:
        metrics.profiles_refused.inc()
        log.warning("profile refused", extra={"profile": name, "error": why})
