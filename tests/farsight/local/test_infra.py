"""etcd and NATS as a local fleet runs them."""

from pathlib import Path

from farsight.bus import Bus
from farsight.etcd import Etcd
from farsight.local.infra import etcd_command, etcd_health_url, nats_command, nats_health_url
from farsight.local.ports import Ports
from farsight.local.ready import State, http_ok, wait_ready
from farsight.local.supervisor import Supervisor


async def test_etcd_keeps_port_and_data_over_a_kill(tmp_path: Path) -> None:
    """A key is there again after SIGKILL and a restart."""
    with Ports() as ports:
        client, peer = ports.take(), ports.take()
        async with Supervisor(tmp_path) as supervisor:
            process = supervisor.add(etcd_command(tmp_path / "etcd", client, peer))
            healthy = http_ok(etcd_health_url(client))
            await process.start()
            await wait_ready(process, healthy, 15)
            etcd = Etcd(f"127.0.0.1:{client}")
            await etcd.put("/kept", b"value")

            await process.kill()
            assert not await healthy()
            await process.restart()
            await wait_ready(process, healthy, 15)

            await etcd.close()
            again = Etcd(f"127.0.0.1:{client}")
            assert await again.get("/kept") == b"value"
            await again.close()


async def test_nats_keeps_port_and_data_over_a_kill(tmp_path: Path) -> None:
    """An object of JetStream is there again after SIGKILL and a restart; progress is told."""
    told: list[State] = []
    with Ports() as ports:
        port, monitor = ports.take(), ports.take()
        async with Supervisor(tmp_path) as supervisor:
            process = supervisor.add(nats_command(tmp_path / "nats", port, monitor))
            healthy = http_ok(nats_health_url(monitor))
            await process.start()
            await wait_ready(process, healthy, 15, lambda name, state, seconds: told.append(state))
            bus = Bus(f"nats://127.0.0.1:{port}")
            await bus.run()
            await bus.put_object("kept", "name", b"value")
            await bus.close()

            await process.kill()
            assert not await healthy()
            await process.restart()
            await wait_ready(process, healthy, 15)

            again = Bus(f"nats://127.0.0.1:{port}")
            await again.run()
            assert await again.get_object("kept", "name", 100) == b"value"
            await again.close()
    assert told[0] is State.STARTING
    assert told[-1] is State.READY
