"""Writes `docs/configuration.md` from the settings classes: `python docs/configuration.py`."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from farsight.settings import ServiceSettings

PAGE = Path(__file__).with_suffix(".md")
SERVICES = Path(__file__).parent.parent / "services"

HEAD = """# Configuration

Made by `make docs` from `services/*/settings.py`.

Every service is `python -m services.<name>` (in the images: the entry point) and takes its settings
from, in order of precedence,

1. flags: `--metrics-listen 0.0.0.0:9100`,
2. environment variables: `FARSIGHT_METRICS_LISTEN=0.0.0.0:9100`,
3. a YAML file named by `--config` or `FARSIGHT_CONFIG`: `metrics_listen: 0.0.0.0:9100`,
4. the defaults below.

An unknown flag, an unknown key in the file, or a value that is not allowed stops the service with
exit code 2; all problems are reported at once. Unknown variables are ignored, so one set of
variables can serve every service. `--check` prints the settings that would be used and stops.
"""

COLUMNS = "| setting | flag | environment | default | allowed | meaning |\n" + "|---" * 6 + "|"
BOUNDS = {
    "minimum": ">= ",
    "exclusiveMinimum": "> ",
    "maximum": "<= ",
    "exclusiveMaximum": "< ",
    "minLength": "length >= ",
    "maxLength": "length <= ",
}


def _code(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`".replace("|", "\\|") if text else "(empty)"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(_code(v) for v in schema["enum"])
    if "pattern" in schema:
        return _code(schema["pattern"])
    if schema.get("type") == "object":
        return "a JSON object"
    variants = schema.get("anyOf", [schema])
    bounds = [f"{sign}{v[key]}" for v in variants for key, sign in BOUNDS.items() if key in v]
    return ", ".join(bounds)


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    if "default" not in schema:
        return "(empty)" if schema.get("type") in ("object", "array") else "computed"
    value = schema["default"]
    if value is None:
        return "none"
    return _code(", ".join(map(str, value)) if isinstance(value, list) else value)


def _rows(settings: type[ServiceSettings], names: Iterator[str]) -> Iterator[str]:
    schema = settings.model_json_schema()
    required = schema.get("required", [])
    for name in names:
        field = schema["properties"][name]
        flag, variable = f"--{name.replace('_', '-')}", f"FARSIGHT_{name.upper()}"
        cells = (
            _code(name),
            _code(flag),
            _code(variable),
            _default(field, name in required),
            _allowed(field),
            field.get("description", ""),
        )
        yield "| " + " | ".join(cells) + " |"


def _settings_of(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"services.{service}.settings")
    found: list[type[ServiceSettings]] = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ServiceSettings)
        and value.__module__ == module.__name__
    ]
    (settings,) = found
    return settings


def _own(settings: type[ServiceSettings]) -> Iterator[str]:
    """Fields that the service adds, or whose default it changes."""
    common = ServiceSettings.model_fields
    for name, field in settings.model_fields.items():
        if name not in common or field.default != common[name].default:
            yield name


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Every service\n", COLUMNS]
    parts += _rows(ServiceSettings, iter(ServiceSettings.model_fields))
    for path in sorted(SERVICES.glob("*/settings.py")):
        service = path.parent.name
        settings = _settings_of(service)
        rows = list(_rows(settings, _own(settings)))
        parts.append(f"\n## {service.capitalize()}\n")
        parts += [COLUMNS, *rows] if rows else ["Only the common settings."]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
