"""Free loopback ports that stay ours while a process is restarted.

Ports come from below the kernel's ephemeral range, so no outgoing connection takes the port of a
server that is down for a moment. A claim is an abstract Unix socket: other fleets of this machine
see it, and it ends with this process, whatever ends it.
"""

import random
import socket
from pathlib import Path
from types import TracebackType

LOWEST_PORT = 10_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _highest_port() -> int:
    first_ephemeral = int(_EPHEMERAL_RANGE.read_text().split()[0])
    return first_ephemeral - 1 if first_ephemeral > LOWEST_PORT + 1000 else 65_535


def _claim(port: int) -> socket.socket | None:
    """The claim of a port, or None when another fleet has it or somebody listens on it."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0farsight-port-{port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return None
    return claim


class Ports:
    """Hands out ports; each stays claimed until `close`."""

    def __init__(self) -> None:
        self._claims: list[socket.socket] = []
        self._highest_port = _highest_port()

    def take(self) -> int:
        """A port that nobody listens on and no other fleet was given.

        :raises OSError: no free port was found.
        """
        for _ in range(1000):
            port = random.randint(LOWEST_PORT, self._highest_port)
            claim = _claim(port)
            if claim is not None:
                self._claims.append(claim)
                return port
        raise OSError("no free port on 127.0.0.1")

    def close(self) -> None:
        """Give every port back."""
        for claim in self._claims:
            claim.close()
        self._claims.clear()

    def __enter__(self) -> "Ports":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
