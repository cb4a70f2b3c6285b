"""The options of `farsight bench`."""

from pathlib import Path
from typing import Annotated

import typer

MAX_PROCESSES = 256

_WHICH, _SETTINGS, _RUN = "Which cells", "What a cell is told", "How they run"

Workloads = Annotated[
    list[str] | None,
    typer.Option("--workload", "-w", help="Repeatable; see --list.", rich_help_panel=_WHICH),
]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        help="Repeatable; see --list, which marks those that run without it.",
        rich_help_panel=_WHICH,
    ),
]
Oracle = Annotated[
    bool,
    typer.Option(help="Run the oracle too, which regret is told against.", rich_help_panel=_WHICH),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        "--rate",
        metavar="PER_S",
        help="Requests a second, a cell for each; repeatable, or with commas. Without it the"
        " workload's own stages in one cell.",
        rich_help_panel=_WHICH,
    ),
]
Concurrency = Annotated[
    list[str] | None,
    typer.Option(
        metavar="USERS",
        help="Users of a closed loop, a cell for each; repeatable, or with commas.",
        rich_help_panel=_WHICH,
    ),
]
Ladder = Annotated[
    bool,
    typer.Option(
        "--ladder", help="A cell for each load of the workload's ladder.", rich_help_panel=_WHICH
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Each cell with seeds 1 to N; 3.", rich_help_panel=_WHICH
    ),
]
Pods = Annotated[
    int | None,
    typer.Option(min=1, help="Size of the fleet; the published one.", rich_help_panel=_WHICH),
]
MatrixFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="YAML with all of the above and below, instead of them.",
        rich_help_panel=_WHICH,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Repeatable: hardware, storage, faults, or a field of the environment such as"
        " delta_loss or routers; an unknown name lists them all.",
        rich_help_panel=_SETTINGS,
    ),
]
Trace = Annotated[
    Path | None, typer.Option(metavar="FILE", help="To replay.", rich_help_panel=_SETTINGS)
]
Scale = Annotated[
    float | None,
    typer.Option(help="Multiplies the rate of a trace.", rich_help_panel=_SETTINGS),
]
DurationS = Annotated[
    float | None,
    typer.Option("--duration", metavar="S", help="Of each stage.", rich_help_panel=_SETTINGS),
]
SloTtftMs = Annotated[
    float | None,
    typer.Option(help="TTFT target of requests that have none.", rich_help_panel=_SETTINGS),
]
SloTpotMs = Annotated[
    float | None, typer.Option(help="TPOT target, likewise.", rich_help_panel=_SETTINGS)
]
Out = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        metavar="DIR",
        help="Where results are kept and looked for; build/bench/NAME.",
        rich_help_panel=_RUN,
    ),
]
SummaryFile = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        metavar="FILE",
        help="Write the tables as JSON too.",
        rich_help_panel=_RUN,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(min=1, max=MAX_PROCESSES, help="Cells at the same time.", rich_help_panel=_RUN),
]
Listing = Annotated[
    bool,
    typer.Option("--list", help="Show workloads and policies, and end.", rich_help_panel=_RUN),
]
