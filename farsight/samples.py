"""The stream that carries samples from routers to trainers, made by whoever comes first."""

from farsight.bus import Bus
from farsight.subjects import SAMPLE_ALL, SAMPLE_STREAM

MAX_BYTES = 256 << 20
MAX_AGE_S = 7 * 86_400.0


async def ensure_stream(bus: Bus) -> None:
    """Create the file-backed stream; its oldest samples go first at its limits.

    :raises BusUnavailable: NATS did not answer.
    """
    await bus.ensure_stream(SAMPLE_STREAM, [SAMPLE_ALL], MAX_BYTES, MAX_AGE_S)
