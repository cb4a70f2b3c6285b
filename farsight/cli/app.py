"""The `farsight` command line: commands, and errors as one line each."""

import logging
import sys
from collections.abc import Mapping, Sequence

import typer
from typer.exceptions import TyperException

from farsight.cli.index_errors import CannotCompare
from farsight.cli.installed import Command, installed
from farsight.cli.route import route
from farsight.cli.status import status
from farsight.cli.top import top
from farsight.errors import EtcdUnavailable, FarsightError, InvalidField, UnknownModel

BAD_ARGUMENTS = 2
OWN: Mapping[str, Command] = {"status": status, "route": route, "top": top}
INDEX = "index"


def main() -> None:
    """Entry point of the `farsight` script."""
    logging.getLogger().addHandler(logging.NullHandler())
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    :returns: its exit code: 0, 1 when something is away or wrong, 2 for bad arguments, or when
        there is nothing to compare.
    """
    try:
        shown = list(arguments) or ["--help"]
        return _app(shown[0])(shown, prog_name="farsight", standalone_mode=False) or 0
    except TyperException as error:
        return _fail(error.format_message(), error.exit_code)
    except EtcdUnavailable as error:
        return _fail(f"{str(error).partition(': ')[0]} does not answer; see --etcd", 1)
    except (InvalidField, UnknownModel, CannotCompare) as error:
        return _fail(str(error), BAD_ARGUMENTS)
    except FarsightError as error:
        return _fail(str(error), 1)


def _app(wanted: str) -> typer.Typer:
    """All commands if the wanted one is none of our own, as for the help page."""
    app = typer.Typer(
        name="farsight",
        help="Look into a Farsight fleet: who is alive, why a request goes where, how it performs.",
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, command in OWN.items():
        app.command(name)(command)
    if wanted not in OWN:  # its kernels take longer to load than the other commands take
        from farsight.cli import index

        app.add_typer(index.app, name=INDEX)
    if wanted not in (*OWN, INDEX):
        for name, other in installed(wanted):
            app.command(name)(other)
    return app


def _fail(message: str, exit_code: int) -> int:
    typer.echo(f"farsight: {message}", err=True)
    return exit_code
