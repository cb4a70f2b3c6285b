"""Typed settings: flags over environment (FARSIGHT_*) over a YAML file (--config) over defaults.

Unknown keys are errors, and every problem is reported at once.
"""

import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from farsight.addresses import split_host_port
from farsight.errors import InvalidField
from farsight.log import LogFormat

S = TypeVar("S", bound="ServiceSettings")


def default_replica_id() -> str:
    """Host name and process id: unique enough for a fleet, readable for people."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())
    return f"{host}-{os.getpid()}"


def _host_port(address: str) -> str:
    try:
        split_host_port(address)
    except InvalidField as error:
        raise ValueError(f"expected {error.expected}") from error
    return address


HostPort = Annotated[str, AfterValidator(_host_port)]


class ServiceSettings(BaseSettings):
    """What every service can be told."""

    model_config = SettingsConfigDict(
        env_prefix="FARSIGHT_",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    etcd: HostPort = Field("127.0.0.1:2379", description="etcd, host:port")
    nats: str = Field("nats://127.0.0.1:4222", pattern=r"^(nats|tls)://.+", description="NATS URL")
    listen: HostPort = Field(
        "127.0.0.1:0", description="gRPC address, host:port; port 0 takes a free one"
    )
    metrics_listen: HostPort = Field("127.0.0.1:0", description="Prometheus address, host:port")
    advertise: str = Field(
        "", description="host:port that peers reach this replica at; empty: the gRPC address"
    )
    replica_id: str = Field(
        default_factory=default_replica_id,
        pattern=r"^[A-Za-z0-9_-]{1,128}$",
        description="name of this replica, unique in the fleet",
    )
    lease_ttl_s: int = Field(5, ge=2, le=300, description="etcd lease, seconds")
    drain_s: float = Field(10, ge=0, le=3600, description="longest wait for running calls, seconds")
    log_level: str = Field("info", pattern=r"^(debug|info|warning|error)$", description="log level")
    log_format: LogFormat = Field("json", description="json or text")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, which arrive as a CLI source in front, then environment, then the file."""
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load(settings_class: type[S], argv: Sequence[str]) -> S:
    """Settings from flags, environment and file; exits with code 2 and all problems when bad."""
    config, arguments = _take_config(list(argv))
    with_file: type[S] = type(
        settings_class.__name__,
        (settings_class,),
        {
            "model_config": SettingsConfigDict(yaml_file=config),
            "__module__": settings_class.__module__,
            "__doc__": settings_class.__doc__,
        },
    )
    if config is not None and (problem := _problem_of(config)):
        _refuse([f"--config: {config}: {problem}"])
    flags: CliSettingsSource[Any] = CliSettingsSource(
        with_file,
        cli_prog_name=f"python -m {settings_class.__module__.rpartition('.')[0]}",
        cli_parse_args=arguments,
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
    )
    try:
        return with_file(_cli_settings_source=flags)  # type: ignore[call-arg] # pydantic-settings
    except ValidationError as error:
        _refuse([f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()])
        raise AssertionError from error


def _take_config(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Take `--config FILE` or `--config=FILE` out of the arguments; FARSIGHT_CONFIG otherwise."""
    for i, argument in enumerate(arguments):
        if argument == "--config" and i + 1 < len(arguments):
            return Path(arguments[i + 1]), arguments[:i] + arguments[i + 2 :]
        if argument.startswith("--config="):
            return Path(argument.partition("=")[2]), arguments[:i] + arguments[i + 1 :]
    named = os.environ.get("FARSIGHT_CONFIG")
    return (Path(named) if named else None), arguments


def _problem_of(config: Path) -> str:
    """Why the file cannot be used, empty when it can."""
    try:
        content = yaml.safe_load(config.read_bytes())
    except OSError as error:
        return error.strerror or repr(error)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return f"no YAML: {error}"
    if content is None or (isinstance(content, dict) and all(isinstance(k, str) for k in content)):
        return ""
    return "expected a mapping of setting names to values"


def _refuse(problems: Sequence[str]) -> None:
    for problem in problems:
        sys.stderr.write(f"settings: {problem}\n")
    raise SystemExit(2)
