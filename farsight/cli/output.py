"""Where the commands write: tables or one JSON object on stdout."""

import os

import msgspec
import typer
from rich.console import Console

PIPE_WIDTH = 120  # a pipe has no width of its own


def console() -> Console:
    """Standard output."""
    out = Console(highlight=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = PIPE_WIDTH
    return out


def write_json(value: object) -> None:
    """Write a dataclass as one indented JSON object."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
