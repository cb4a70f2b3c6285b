"""Generate `farsight/pb` from `proto/*.proto`: messages, gRPC stubs and their types.

Run by `make proto` and by the wheel build. protoc's virtual path maps `farsight/pb/x.proto` to
`proto/x.proto`, so the generated imports are right without patching.
"""

import shutil
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def plugin(name: str) -> str:
    """Path of a protoc plugin that lies beside this interpreter, else on the PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} is missing: pip install mypy-protobuf")
    return found


def generate() -> None:
    """Write the generated files; exits with protoc's status when it fails."""
    sources = sorted(f"farsight/pb/{path.name}" for path in (ROOT / "proto").glob("*.proto"))
    status = protoc.main(
        [
            "protoc",
            f"-Ifarsight/pb={ROOT / 'proto'}",
            f"--plugin=protoc-gen-mypy={plugin('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={plugin('protoc-gen-mypy_grpc')}",
            *(f"--{kind}_out={ROOT}" for kind in ("python", "grpc_python")),
            *(f"--{kind}_out=quiet:{ROOT}" for kind in ("mypy", "mypy_grpc")),
            *sources,
        ]
    )
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    generate()
