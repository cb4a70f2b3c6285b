"""host:port strings."""

from farsight.errors import InvalidField


def split_host_port(address: str, field: str = "address") -> tuple[str, int]:
    """Split `host:port`; IPv6 hosts stand in brackets.

    :raises InvalidField: there is no port, or it is not 0 to 65535.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65535:
        raise InvalidField(field, f"host:port, not {address!r}")
    return host.strip("[]"), int(port)
