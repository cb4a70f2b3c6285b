"""gRPC client channels with the project's options."""

import grpc.aio

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
# A server takes larger messages than clients send, so that a bound of ours answers, by its field.
MAX_SERVED_BYTES = 64 * 1024 * 1024

_CLIENT_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A replica that was killed and comes back is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.enable_retries", 0),
)


def connect(address: str) -> grpc.aio.Channel:
    """A channel to `host:port`; it connects on the first call."""
    return grpc.aio.insecure_channel(address, options=_CLIENT_OPTIONS)
