"""Commands of other packages, which they announce as entry points.

They are imported only when they are run or listed, so that the others start as quickly as ever.
"""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points

from farsight.errors import FarsightError

GROUP = "farsight.commands"

Command = Callable[..., object]


class BrokenCommand(FarsightError):
    """The package of a command cannot be imported."""


def installed(wanted: str) -> Iterator[tuple[str, Command]]:
    """The wanted command by its name; all of them when there is none of that name.

    :raises BrokenCommand: the wanted one cannot be imported. In a list it only says so.
    """
    found = entry_points(group=GROUP)
    if wanted in found.names:
        yield wanted, _load(found[wanted])
        return
    for entry in found:
        try:
            yield entry.name, _load(entry)
        except BrokenCommand as error:
            yield entry.name, _stand_in(error)


def _load(entry: EntryPoint) -> Command:
    try:
        command: Command = entry.load()
    except Exception as error:  # whatever a package raises while it is imported
        why = f"{type(error).__name__}: {error}"
        raise BrokenCommand(f"{entry.name} cannot be loaded from {entry.value}: {why}") from error
    return command


def _stand_in(error: BrokenCommand) -> Command:
    def broken() -> None:
        raise error

    broken.__doc__ = f"Broken: {error}"
    return broken
