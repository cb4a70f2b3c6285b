"""Numba kernels that read a batch of KV events from its msgpack bytes.

`scan` walks over the whole body once, checks every length against what is left, and notes where the
values of each event lie; `read_values` then decodes hashes and tokens. Nothing is read behind the
end of the buffer: every header is checked by `_head`, which is the only reader of lengths. Nothing
is allocated here, so Numba need not count the references of arrays (`_nrt`).
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,assignment"

import numpy as np
from numba import njit

from services.sidecar.event_rows import FIELDS, MEDIUMS, SPEC_KINDS, TAGS

kernel = njit(cache=True, nogil=True, _nrt=False)
inlined = njit(cache=True, nogil=True, _nrt=False, inline="always")

DECODED, TRUNCATED, SCHEMA = 0, 1, 2  # what the kernels return

MAX_EVENTS = 100_000
MAX_HASHES = 1 << 20
MAX_TOKENS = 1 << 22
MAX_BLOCK_TOKENS = 1 << 16
MAX_TEXT = 4096
MAX_DIGEST = 64

_TYPE, _HASHES, _PARENT, _TOKENS, _BLOCK = 0, 1, 2, 3, 4
_MEDIUM, _LORA, _EXTRAS, _GROUP, _SPEC, _WINDOW = 6, 7, 8, 9, 10, 11
_BAD, _NIL, _BOOL, _UINT, _NEGATIVE, _FLOAT, _STR, _BIN, _ARRAY, _MAP, _EXT = range(11)
_STORED, _REMOVED = 0, 1
_MAX_UINT32 = np.uint64(0xFFFFFFFF)


def _table(names):
    """Names as rows of bytes, the length in front."""
    table = np.zeros((len(names), 33), np.uint8)
    for row, name in zip(table, names, strict=True):
        row[0] = len(name)
        row[1 : 1 + len(name)] = np.frombuffer(name.encode(), np.uint8)
    return table


_FIELD_NAMES, _TAG_NAMES = _table(FIELDS), _table(TAGS)
_MEDIUM_NAMES, _SPEC_NAMES = _table(MEDIUMS), _table(SPEC_KINDS)

# What the first byte of a value says: its type, the bytes of the number or length that follows, and
# the number or length itself where none follows.
_TYPES = np.full(256, _BAD, np.int64)
_WIDTHS = np.zeros(256, np.int64)
_VALUES = np.zeros(256, np.uint64)
for _first, _end, _type, _mask in (
    (0x00, 0x80, _UINT, 0x7F),
    (0x80, 0x90, _MAP, 0x0F),
    (0x90, 0xA0, _ARRAY, 0x0F),
    (0xA0, 0xC0, _STR, 0x1F),
):
    _TYPES[_first:_end] = _type
    _VALUES[_first:_end] = np.arange(_first, _end) & _mask
for _first, _type, _widths in (
    (0xC0, _NIL, (0,)),
    (0xC2, _BOOL, (0, 0)),
    (0xC4, _BIN, (1, 2, 4)),
    (0xC7, _EXT, (1, 2, 4)),
    (0xCA, _FLOAT, (4, 8)),
    (0xCC, _UINT, (1, 2, 4, 8)),
    (0xD0, _NEGATIVE, (1, 2, 4, 8)),
    (0xD4, _EXT, (0, 0, 0, 0, 0)),
    (0xD9, _STR, (1, 2, 4)),
    (0xDC, _ARRAY, (2, 4)),
    (0xDE, _MAP, (2, 4)),
):
    _TYPES[_first : _first + len(_widths)] = _type
    _WIDTHS[_first : _first + len(_widths)] = _widths
_VALUES[0xD4:0xD9] = (1, 2, 4, 8, 16)
_TYPES[0xE0:] = _NEGATIVE
_VALUES[0xE0:] = np.arange(-32, 0).astype(np.uint64)

# Sizes of tokens are random: looked up, because branches on them would be guessed wrong.
_NUMBER_SIZES = np.zeros(256, np.int64)  # of unsigned numbers, with the header
_NUMBER_SIZES[:0x80] = 1
_NUMBER_SIZES[0xCC:0xD0] = (2, 3, 5, 9)
_NUMBER_MASKS = np.array([0, 0x7F, 0xFF, 0xFFFF, 0, 0xFFFFFFFF], np.uint64)


@inlined
def _big_endian(buf, at, size):
    value = np.uint64(0)
    for i in range(size):
        value = (value << np.uint64(8)) | np.uint64(buf[at + i])
    return value


@kernel
def _head(buf, at):
    """Type, number or length, and where the payload begins; payloads lie within the buffer.

    Lists and maps have no more items than there are bytes left.
    """
    if at < 0 or at >= buf.size:
        return _BAD, np.uint64(0), buf.size
    first = buf[at]
    kind, width = _TYPES[first], _WIDTHS[first]
    after = at + 1 + width
    if kind == _BAD or after > buf.size:
        return _BAD, np.uint64(0), buf.size
    value = _big_endian(buf, at + 1, width) if width > 0 else _VALUES[first]
    if kind == _NEGATIVE and width > 0:
        sign = np.uint64(1) << np.uint64(8 * width - 1)
        if value & sign == np.uint64(0):  # a signed number that is positive
            return _UINT, value, after
        value |= ~(sign | (sign - np.uint64(1)))
    elif kind >= _STR:
        value += np.uint64(kind == _EXT)  # the type byte
        if value * np.uint64(1 + (kind == _MAP)) > np.uint64(buf.size - after):
            return _BAD, np.uint64(0), buf.size
    return kind, value, after


@inlined
def _skip_numbers(buf, at, most):
    """Step over unsigned numbers, which most values are; returns (end, how many)."""
    passed = 0
    while passed < most and at + 9 <= buf.size:
        size = _NUMBER_SIZES[buf[at]]
        if size == 0:
            break
        at += size
        passed += 1
    return at, passed


@kernel
def _skip(buf, at):
    """Where the value at `at` ends; -1 when it is cut off."""
    needed = 1
    while needed > 0:
        kind, value, at = _head(buf, at)
        if kind == _BAD:
            return -1
        needed -= 1
        if kind == _ARRAY:
            at, passed = _skip_numbers(buf, at, np.int64(value))
            needed += np.int64(value) - passed
        elif kind == _MAP:
            needed += 2 * np.int64(value)
        elif kind >= _STR:
            at += np.int64(value)
    return at


@kernel
def _is_name(buf, at, length, name):
    i = 0
    while i < length and buf[at + i] == name[1 + i]:
        i += 1
    return i == length


@kernel
def _which(buf, at, length, names, first_guess):
    """Row of a name, -1 for another one."""
    for i in range(-1, len(names)):
        row = first_guess if i < 0 else i
        if row < len(names) and names[row, 0] == length and _is_name(buf, at, length, names[row]):
            return row
    return -1


@kernel
def _locate_map(buf, at, pairs, fields):
    """Note where the fields of a map lie; returns its end, -1 when it is cut off."""
    guess = 0
    for _ in range(pairs):
        kind, length, payload = _head(buf, at)
        at = _skip(buf, at)
        if at < 0:
            return -1
        if kind == _STR:
            field = _which(buf, payload, np.int64(length), _FIELD_NAMES, guess)
            if field >= 0:
                fields[field] = at
                guess = field + 1
        at = _skip(buf, at)
        if at < 0:
            return -1
    return at


@kernel
def _locate_array(buf, at, count, fields):
    """The same for an array; fields of a removal are where they belong."""
    removes = False
    for i in range(count):
        if i == 0:
            kind, length, payload = _head(buf, at)
            tag = _which(buf, payload, np.int64(length), _TAG_NAMES, 0) if kind == _STR else -1
            removes = tag == _REMOVED
        field = i
        if removes and i >= 2:
            field = _MEDIUM if i == 2 else (_GROUP if i == 3 else len(fields))
        if field < len(fields):
            fields[field] = at
        at = _skip(buf, at)
        if at < 0:
            return -1
    return at


@kernel
def _text_of(buf, at, names):
    """Index of the text at `at`, 0 for nil or absent, -1 for another text, -2 for no text."""
    if at == 0:
        return 0
    kind, length, payload = _head(buf, at)
    if kind == _NIL:
        return 0
    if kind != _STR or np.int64(length) > MAX_TEXT:
        return -2
    return _which(buf, payload, np.int64(length), names, 1)


@kernel
def _uint_of(buf, at, most):
    """The number at `at`, 0 for nil or absent, -1 when it is none up to `most`."""
    if at == 0:
        return 0
    kind, value, _ = _head(buf, at)
    if kind == _NIL:
        return 0
    if kind != _UINT or value > np.uint64(most):
        return -1
    return np.int64(value)


@kernel
def _hash_of(buf, at):
    """The low 64 bits of a block hash, a number or a digest, its end, and whether it is one."""
    kind, value, payload = _head(buf, at)
    if _UINT <= kind <= _NEGATIVE:
        return value, payload, True
    length = np.int64(value)
    if kind != _BIN or length > MAX_DIGEST:
        return np.uint64(0), payload, False
    size = min(length, 8)
    return _big_endian(buf, payload + length - size, size), payload + length, True


@kernel
def _list_of(buf, at, most):
    """Length of the list at `at` and where its first item lies; -1 when it is none."""
    kind, count, items = _head(buf, at)
    if kind != _ARRAY or np.int64(count) > most:
        return -1, items
    return np.int64(count), items


@kernel
def _note_beside(buf, fields, row):
    """The parts of a stored event that few have: adapter and extras."""
    at = fields[_LORA]
    if at:
        kind, length, payload = _head(buf, at)
        if kind == _STR and np.int64(length) <= MAX_TEXT:
            row.lora_at, row.lora_end = payload, payload + np.int64(length)
        elif kind != _NIL:
            return False
    row.extras = -1
    at = fields[_EXTRAS]
    if at and buf[at] != 0xC0:
        count, item = _list_of(buf, at, MAX_HASHES)
        if count < 0:
            return False
        row.extras = count
        for _ in range(count):
            if buf[item] != 0xC0:
                row.extras_at, row.extras_end = at, _skip(buf, at)
                break
            item += 1
    return True


@kernel
def _note_stored(buf, fields, row):
    if fields[_PARENT] and buf[fields[_PARENT]] != 0xC0:
        row.parent, _, is_hash = _hash_of(buf, fields[_PARENT])
        if not is_hash:
            return False
        row.has_parent = 1
    if fields[_TOKENS]:
        row.tokens, row.tokens_at = _list_of(buf, fields[_TOKENS], MAX_TOKENS)
    row.block_tokens = _uint_of(buf, fields[_BLOCK], MAX_BLOCK_TOKENS)
    row.spec_kind = _text_of(buf, fields[_SPEC], _SPEC_NAMES)
    row.window_tokens = _uint_of(buf, fields[_WINDOW], 1 << 40)
    if row.tokens < 0 or row.block_tokens < 0 or row.spec_kind == -2 or row.window_tokens < 0:
        return False
    return _note_beside(buf, fields, row)


@kernel
def _note(buf, fields, row):
    """Fill the row of an event; returns DECODED or SCHEMA, or -1 for an unknown tag."""
    if fields[_TYPE] == 0:
        return SCHEMA
    tag = _text_of(buf, fields[_TYPE], _TAG_NAMES)
    if tag == -2 or buf[fields[_TYPE]] == 0xC0:
        return SCHEMA
    if tag == -1:
        return -1
    row.kind = tag
    if tag != _STORED and tag != _REMOVED:
        return DECODED
    if fields[_HASHES] == 0:
        return SCHEMA
    row.hashes, row.hashes_at = _list_of(buf, fields[_HASHES], MAX_HASHES)
    row.medium = _text_of(buf, fields[_MEDIUM], _MEDIUM_NAMES)
    row.group = _uint_of(buf, fields[_GROUP], 1 << 16)
    if row.hashes < 0 or row.medium == -2 or row.group < 0:
        return SCHEMA
    if tag == _STORED and not _note_stored(buf, fields, row):
        return SCHEMA
    return DECODED


@kernel
def begin(buf):
    """Result, where the time lies, where the list of events, how many, and elements after it."""
    kind, count, time_at = _head(buf, 0)
    if kind == _BAD:
        return TRUNCATED, 0, 0, 0, 0
    if kind != _ARRAY or np.int64(count) < 2:
        return SCHEMA, 0, 0, 0, 0
    events_at = _skip(buf, time_at)
    events, _ = _list_of(buf, events_at, MAX_EVENTS)
    return (DECODED if events >= 0 else SCHEMA), time_at, events_at, events, np.int64(count) - 2


@kernel
def scan(buf, events_at, tail, rows, fields):
    """Fill the rows of known events, one after another.

    :param fields: room for an offset per field.
    :returns: result, number of rows, of their hashes and tokens, and of rows with more beside them.
    """
    known = hashes = tokens = beside = 0
    _, at = _list_of(buf, events_at, MAX_EVENTS)
    for _ in range(rows.size):
        fields[:] = 0
        kind, count, inner = _head(buf, at)
        if kind == _ARRAY:
            at = _locate_array(buf, inner, np.int64(count), fields)
        elif kind == _MAP:
            at = _locate_map(buf, inner, np.int64(count), fields)
        else:
            return (TRUNCATED if kind == _BAD else SCHEMA), 0, 0, 0, 0
        if at < 0:
            return TRUNCATED, 0, 0, 0, 0
        row = rows[known]
        noted = _note(buf, fields, row)
        if noted == SCHEMA:
            return SCHEMA, 0, 0, 0, 0
        if noted == DECODED:
            row.first_hash, row.first_token = hashes, tokens
            hashes += row.hashes
            tokens += row.tokens
            beside += (row.lora_at | row.extras_at) != 0
            known += 1
    for _ in range(tail):
        at = _skip(buf, at)
        if at < 0:
            return TRUNCATED, 0, 0, 0, 0
    return (DECODED if at == buf.size else TRUNCATED), known, hashes, tokens, beside


@inlined
def _token_of(buf, at):
    """A token, its end, and whether it is one."""
    size = _NUMBER_SIZES[buf[at]]
    if size == 0 or size == 9 or at + 5 > buf.size:
        kind, value, at = _head(buf, at)
        return value, at, kind == _UINT and value <= _MAX_UINT32
    bits = _big_endian(buf, at, 5) >> np.uint64(40 - 8 * size)
    return bits & _NUMBER_MASKS[size], at + size, True


@kernel
def read_values(buf, rows, hashes, tokens):
    """Decode all hashes and tokens, whose bounds `scan` has checked; returns DECODED or SCHEMA."""
    for i in range(rows.size):
        row = rows[i]
        at = row.hashes_at
        for j in range(row.first_hash, row.first_hash + row.hashes):
            hashes[j], at, is_hash = _hash_of(buf, at)
            if not is_hash:
                return SCHEMA
        at = row.tokens_at
        for j in range(row.first_token, row.first_token + row.tokens):
            tokens[j], at, is_token = _token_of(buf, at)
            if not is_token:
                return SCHEMA
    return DECODED
