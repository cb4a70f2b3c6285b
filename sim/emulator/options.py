"""The flags of `farsight emulate`."""

from pathlib import Path
from typing import Annotated

import typer

Pods = Annotated[int, typer.Option(help="Pods of this process.")]
Model = Annotated[str, typer.Option(help="Name of the served model.")]
Hardware = Annotated[str, typer.Option(help="Preset of the engines; a wrong name lists them.")]
Tokenizer = Annotated[str, typer.Option(help="Hugging Face tokenizer; without it one is made.")]
WorkDir = Annotated[Path, typer.Option(help="Where the tokenizer is kept that is made.")]
Lora = Annotated[list[str] | None, typer.Option(help="An adapter's name; repeatable.")]
BlockTokens = Annotated[int, typer.Option(help="Tokens of a KV block; 0: the preset's.")]
KvTokens = Annotated[int, typer.Option(help="Tokens of the KV cache; 0: the preset's.")]
MaxModelTokens = Annotated[
    int, typer.Option(help="Longest sequence; 0: the KV cache, at most 131,072.")
]
MaxSequences = Annotated[int, typer.Option(help="Running requests; 0: the preset's.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
BasePort = Annotated[int, typer.Option(help="HTTP port of the first pod; 0: free ones.")]
EventsBasePort = Annotated[int, typer.Option(help="Its KV events; 0: free ports.")]
ReplayBasePort = Annotated[int, typer.Option(help="Their replay; 0: free ports.")]
Speed = Annotated[float, typer.Option(help="Time runs so many times faster.")]
OutputTokens = Annotated[int, typer.Option(help="Mean length of answers without ignore_eos.")]
Seed = Annotated[int, typer.Option(help="Decides what is answered.")]
DrainS = Annotated[float, typer.Option(help="Longest wait for requests at the end, seconds.")]
