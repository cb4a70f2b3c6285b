"""What the local fleet raises.

FarsightError
└── LocalFleetError
    ├── MissingProgram    a binary is not installed
    ├── ProcessEnded      a process ended although it was needed
    └── NotReady          a process runs and is not ready within its limit
"""

from farsight.errors import FarsightError


class LocalFleetError(FarsightError):
    """Base of the errors of this package."""

    reason = "local-fleet"


class MissingProgram(LocalFleetError):
    """A program is neither beside the interpreter nor on the PATH."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not installed: run `make venv infra`")
        self.program = program


class ProcessEnded(LocalFleetError):
    """A process ended; `log_tail` holds its last lines."""

    def __init__(self, name: str, returncode: int, log_tail: str) -> None:
        super().__init__(f"{name} ended with {returncode}; the last lines of its log:\n{log_tail}")
        self.name = name
        self.returncode = returncode
        self.log_tail = log_tail


class NotReady(LocalFleetError):
    """A process was not ready within its limit; `log_tail` holds its last lines."""

    def __init__(self, name: str, limit_s: float, log_tail: str) -> None:
        super().__init__(
            f"{name} is not ready after {limit_s:.0f} s; the last lines of its log:\n{log_tail}"
        )
        self.name = name
        self.limit_s = limit_s
        self.log_tail = log_tail
