"""Models and endpoints as etcd lists them, and whether there is enough to serve."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from farsight.discovery import decode_endpoints


@dataclass(frozen=True, slots=True)
class Model:
    """A model or adapter that an endpoint serves."""

    name: str
    parent: str | None  # model of an adapter
    max_model_len_tokens: int
    since_unix_s: int


class Fleet:
    """Kept current by watches; `on_missing` is told each part with the reason, "" when there."""

    def __init__(self, on_missing: Callable[[str, str], None]) -> None:
        self._on_missing = on_missing
        self._url_uses: Counter[str] = Counter()
        self.models: tuple[Model, ...] = ()
        self.missing: dict[str, str] = {}
        self.set_routers(())
        self.set_endpoints({})

    def set_routers(self, addresses: Sequence[str]) -> None:
        """Take the addresses of the router replicas."""
        self._tell("routers", "" if addresses else "no router is registered")

    def set_endpoints(self, values: Mapping[str, bytes]) -> None:
        """Take the mapping under ENDPOINTS_PREFIX."""
        records = sorted(decode_endpoints(values).values(), key=lambda r: r.registered_unix_ms)
        models: dict[str, Model] = {}
        for record in records:
            since_unix_s = record.registered_unix_ms // 1000
            limit_tokens = record.max_model_len_tokens
            for name in (record.model, *record.lora_names):
                parent = None if name == record.model else record.model
                models.setdefault(name, Model(name, parent, limit_tokens, since_unix_s))
        self.models = tuple(models[name] for name in sorted(models))
        self._url_uses = Counter(record.url for record in records)
        self._tell("endpoints", "" if records else "no endpoint is registered")

    def shares_url(self, url: str) -> bool:
        """Several ranks answer at one URL, so that a request has to name its rank."""
        return self._url_uses[url] > 1

    def _tell(self, part: str, why: str) -> None:
        if why:
            self.missing[part] = why
        else:
            self.missing.pop(part, None)
        self._on_missing(part, why)
