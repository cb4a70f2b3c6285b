"""`python -m sim.emulator`: `farsight emulate` as a program of its own."""

import sys

import typer

from farsight.errors import InvalidField
from sim.emulator.command import emulate

BAD_ARGUMENTS = 2


def main() -> int:
    """Exit code 0 after SIGTERM, 2 for bad arguments."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(emulate)
    try:
        app()
    except InvalidField as error:
        typer.echo(f"emulate: {error}", err=True)
        return BAD_ARGUMENTS
    return 0


if __name__ == "__main__":
    sys.exit(main())
