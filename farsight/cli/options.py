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

NatsUrl = Annotated[
    str,
    typer.Option(
        "--nats",
        envvar="FARSIGHT_NATS",
        metavar="URL",
        help="The NATS that the sidecars publish on.",
    ),
]
DEFAULT_NATS = "nats://127.0.0.1:4222"

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
