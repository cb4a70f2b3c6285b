"""Ports of a local fleet."""

import socket
import subprocess
import sys

from farsight.local.ports import Ports


def test_ports_are_distinct_and_free() -> None:
    """No port is given twice, and a server can listen on each."""
    with Ports() as ports:
        taken = [ports.take() for _ in range(50)]

        assert len(set(taken)) == 50
        for port in taken:
            with socket.socket() as server:
                server.bind(("127.0.0.1", port))


def test_another_fleet_is_not_given_a_claimed_port() -> None:
    """A claim holds across processes until it is closed, even while nobody listens."""
    ask = (
        "import sys; from farsight.local import ports;"
        "claim = ports._claim(int(sys.argv[1])); print(claim is not None)"
    )
    with Ports() as ports:
        port = ports.take()
        while_claimed = subprocess.check_output([sys.executable, "-c", ask, str(port)])
    when_closed = subprocess.check_output([sys.executable, "-c", ask, str(port)])

    assert while_claimed.strip() == b"False"
    assert when_closed.strip() == b"True"
