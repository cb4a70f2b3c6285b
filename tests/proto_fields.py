"""The fields of every message in `proto/`, as they are and as they were released.

`python -m tests.proto_fields` adds new ones to `tests/proto_fields.txt`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
)
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

import farsight.pb

GOLDEN = Path(__file__).with_name("proto_fields.txt")


def _type(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        kind = field.message_type.full_name
    elif field.enum_type is not None:
        kind = field.enum_type.full_name
    else:
        kind = (
            FieldDescriptorProto.Type.Name(FieldDescriptorProto.Type.ValueType(field.type))
            .removeprefix("TYPE_")
            .lower()
        )
    return f"repeated {kind}" if field.is_repeated else kind


def _of_enum(enum: EnumDescriptor) -> Iterator[tuple[str, str]]:
    for value in enum.values:
        yield f"{enum.full_name}.{value.name}", f"{value.number}=enum"


def _of_message(message: Descriptor) -> Iterator[tuple[str, str]]:
    for field in message.fields:
        yield f"{message.full_name}.{field.name}", f"{field.number}={_type(field)}"
    for enum in message.enum_types:
        yield from _of_enum(enum)
    for nested in message.nested_types:
        yield from _of_message(nested)


def _of_file(file: FileDescriptor) -> Iterator[tuple[str, str]]:
    for message in file.message_types_by_name.values():
        yield from _of_message(message)
    for enum in file.enum_types_by_name.values():
        yield from _of_enum(enum)


def fields_now() -> dict[str, str]:
    """`number=type` by full field name, from the generated code."""
    names = (m.name for m in pkgutil.iter_modules(farsight.pb.__path__) if m.name.endswith("_pb2"))
    modules = [importlib.import_module(f"farsight.pb.{name}") for name in names]
    return {name: rest for module in modules for name, rest in _of_file(module.DESCRIPTOR)}


def read_golden() -> dict[str, str]:
    """The same as it was released."""
    lines = GOLDEN.read_text().splitlines()
    return {name: rest for name, _, rest in (line.partition("=") for line in lines)}


def main() -> None:
    """Add new fields; what is in the file already stays."""
    known = read_golden() if GOLDEN.is_file() else {}
    merged = {**fields_now(), **known}
    GOLDEN.write_text("".join(sorted(f"{name}={rest}\n" for name, rest in merged.items())))


if __name__ == "__main__":
    main()
