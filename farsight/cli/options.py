"""Options that several commands take."""

from typing import Annotated

import typer

EtcdAddress = Annotated[
    str,
    typer.Option(
        "--etcd",
        envvar="FARSIGHT_ETCD",
        metavar="HOST:PORT",
        help="The etcd that the services register in.",
    ),
]
DEFAULT_ETCD = "127.0.0.1:2379"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
