"""host:port strings."""

import pytest

from farsight.addresses import split_host_port
from farsight.errors import InvalidField


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("etcd.farsight.svc:2379", ("etcd.farsight.svc", 2379)),
        ("[::1]:0", ("::1", 0)),
        ("h:65535", ("h", 65535)),
    ],
)
def test_hosts_and_ports_are_split(address: str, parts: tuple[str, int]) -> None:
    """Names, IPv4, and IPv6 in brackets."""
    assert split_host_port(address) == parts


@pytest.mark.parametrize("address", ["", "host", ":80", "host:", "host:http", "h:65536", "h:-1"])
def test_anything_else_names_the_field(address: str) -> None:
    """No host, no port, or a port that is none."""
    with pytest.raises(InvalidField) as refused:
        split_host_port(address, "listen")

    assert refused.value.field == "listen"
