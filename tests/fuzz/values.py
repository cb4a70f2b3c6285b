"""Changes inside a msgpack document or a protobuf message that leave it one."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from tests.fuzz.mutation import bytes_changed, number

M = TypeVar("M", bound=Message)
TEXTS = ("", "GPU", "CPU", "STORAGE", "BlockStored", "AllBlocksCleared", "mamba", "x" * 300, "ü")


def msgpack_changed(data: bytes, rng: Random) -> bytes:
    """One value of the document is another one; plain bytes are changed when it is none."""
    try:
        value = msgspec.msgpack.decode(data)
        return msgspec.msgpack.encode(_value_changed(value, rng))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, TypeError):
        return bytes_changed(data, rng)


def _value_changed(value: Any, rng: Random) -> Any:
    """The value with a change somewhere inside."""
    if isinstance(value, list) and value and rng.random() < 0.8:
        return _list_changed(value, rng)
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: _value_changed(value[key], rng)}
    if isinstance(value, bytes) and rng.random() < 0.8:
        return _array_changed(value, rng)
    if isinstance(value, int) and rng.random() < 0.7:
        return rng.choice((value + 1, value - 1, value * 2, number(rng)))
    return _any_value(rng)


def _list_changed(value: list[Any], rng: Random) -> list[Any]:
    at = rng.randrange(len(value))
    match rng.randrange(6):
        case 0:
            return value[:at] + value[at + 1 :]
        case 1:
            return [*value[:at], value[at], *value[at:]]
        case 2:
            return value * rng.choice((2, 3))
        case _:
            return [*value[:at], _value_changed(value[at], rng), *value[at + 1 :]]


def _array_changed(data: bytes, rng: Random) -> bytes:
    """Bytes in which one item of a packed array is another one, or that are shorter or longer."""
    if len(data) < 8 or rng.random() < 0.3:
        return bytes_changed(data, rng)
    width = rng.choice((2, 4, 4, 8))
    at = rng.randrange(len(data) // width) * width
    item = rng.choice((number(rng), -2, -1, rng.randrange(64))) % (1 << 8 * width)
    return data[:at] + item.to_bytes(width, "little") + data[at + width :]


def _any_value(rng: Random) -> Any:
    made: Sequence[Callable[[], Any]] = (
        lambda: None,
        lambda: number(rng),
        lambda: rng.random(),
        lambda: rng.choice(TEXTS),
        lambda: rng.randbytes(rng.choice((0, 8, 16, 32, 64, 65))),
        lambda: [number(rng) for _ in range(rng.randrange(20))],
        lambda: {rng.choice(TEXTS): number(rng)},
        lambda: [[rng.choice(TEXTS), number(rng)], rng.choice(TEXTS)],
    )
    return rng.choice(made)()


def message_changed(data: bytes, kind: type[M], rng: Random) -> bytes:
    """One field of the message is another one; plain bytes are changed when it does not parse."""
    try:
        message = kind.FromString(data)
        _field_changed(message, rng)
        return message.SerializeToString()
    except (DecodeError, ValueError, TypeError):  # the number does not fit the field
        return bytes_changed(data, rng)


def _field_changed(message: Message, rng: Random) -> None:
    fields: Sequence[Any] = message.DESCRIPTOR.fields  # of one of two classes, by implementation
    field: FieldDescriptor = rng.choice(fields)
    if field.is_repeated:
        _repeated_changed(getattr(message, field.name), field, rng)
    elif field.message_type is not None:
        _field_changed(getattr(message, field.name), rng)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _scalar(getattr(message, field.name), field, rng))


def _repeated_changed(values: Any, field: FieldDescriptor, rng: Random) -> None:
    at = rng.randrange(len(values)) if values else 0
    match rng.randrange(4):
        case 0 if values:
            del values[at]
        case 1 if values:
            values.append(values[at])
        case _ if field.message_type is not None:
            _field_changed(values[at] if values else values.add(), rng)
        case _:
            values.append(_scalar(values[at] if values else 0, field, rng))


def _scalar(value: Any, field: FieldDescriptor, rng: Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice((value * 2, value[8:], bytes_changed(value, rng)))
        return rng.choice((*TEXTS, "a", "b", "c"))
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice((0, 1, 2, 3, 4, 99))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return not value
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return rng.choice((0.0, -1.0, 1e308, float("nan"), float("inf"), rng.random()))
    return rng.choice((value + 1, max(value - 1, 0), abs(number(rng)), rng.randrange(4)))
