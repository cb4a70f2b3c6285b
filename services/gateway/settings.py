"""Settings of the gateway."""

from pydantic import Field

from farsight.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of the gateway."""

    http_listen: str = Field(
        "127.0.0.1:8000", description="HTTP address, host:port; port 0 takes a free one"
    )
    routers: str = Field(
        "",
        pattern=r"^([^,\s]+:\d+(,[^,\s]+:\d+)*)?$",
        description="routers, comma-separated host:port; empty: those that etcd lists",
    )
    route_timeout_s: float = Field(
        5, gt=0, le=600, description="longest wait for a decision or for a router to come, seconds"
    )
    max_body_bytes: int = Field(
        8 << 20, ge=1024, le=15 << 20, description="longest request body, bytes"
    )
    max_tries: int = Field(
        4, ge=1, le=64, description="endpoints that one request is sent to before it is given up"
    )
    connect_timeout_s: float = Field(
        2, gt=0, le=600, description="longest wait for a connection to an engine, seconds"
    )
    stream_silence_s: float = Field(
        60, gt=0, le=86_400, description="longest silence of a streaming engine, seconds"
    )
    response_timeout_s: float = Field(
        600, gt=0, le=86_400, description="longest wait for an answer that is not streamed, seconds"
    )
    max_response_bytes: int = Field(
        64 << 20, ge=1024, description="longest answer that is not streamed, bytes"
    )
