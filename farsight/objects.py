"""Reads an object of a NATS bucket that may be replaced while it is read.

An object is a message with its size and digest, and chunks under a subject of their own. Whoever
replaces it deletes the old chunks, so a reader that came between waits for chunks that never come:
it looks again what the object is now.
"""

import base64
import hashlib

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ObjectInfo
from nats.js.errors import DigestMismatchError
from nats.js.object_store import ObjectStore

from farsight.errors import BadRecord

STALL_S = 1.0


async def fetch(
    js: JetStreamContext, store: ObjectStore, bucket: str, name: str, max_bytes: int
) -> bytes:
    """The object as it is now; the caller limits the time.

    :raises BadRecord: it is larger than `max_bytes`.
    :raises ObjectNotFoundError: there is none.
    """
    while True:
        info = await store.get_info(name)
        if (info.size or 0) > max_bytes:
            raise BadRecord(f"object {bucket}/{name}: {info.size} bytes > {max_bytes}")
        try:
            return await _read(js, bucket, info)
        except nats.errors.TimeoutError:
            continue


async def _read(js: JetStreamContext, bucket: str, info: ObjectInfo) -> bytes:
    """All chunks, in order.

    :raises TimeoutError: the next one does not come.
    """
    size = info.size or 0
    data, digest = bytearray(), hashlib.sha256()
    if size:
        chunks = await js.subscribe(f"$O.{bucket}.C.{info.nuid}", ordered_consumer=True)
        try:
            while len(data) < size:
                chunk = (await chunks.next_msg(STALL_S)).data
                digest.update(chunk)
                data += chunk
        finally:
            await chunks.unsubscribe()
        said = (info.digest or "").partition("=")[2]
        if base64.urlsafe_b64encode(digest.digest()).decode() != said:
            raise DigestMismatchError
    return bytes(data)
