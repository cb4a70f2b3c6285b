"""Argument lists of pods and services."""

import json
import sys
from pathlib import Path

from farsight.local.emulated import emulator_command
from farsight.local.engine import EngineSpec, engine_command
from farsight.local.fleet import FleetSpec
from farsight.local.services import KINDS, ServiceSpec, service_command


def after(argv: tuple[str, ...], flag: str) -> str:
    """The value of a flag."""
    return argv[argv.index(flag) + 1]


ENGINE = EngineSpec("pod-1", Path("models/demo"), port=8100, events_port=5557, replay_port=5558)


def test_a_pod_publishes_events_with_replay_under_its_own_topic() -> None:
    """Endpoint, replay endpoint and topic come from the spec."""
    command = engine_command(ENGINE, Path("/tmp/x"))

    assert json.loads(after(command.argv, "--kv-events-config")) == {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": "tcp://*:5557",
        "replay_endpoint": "tcp://*:5558",
        "topic": "kv@pod-1@tiny",
    }


def test_a_pod_is_small_offline_and_reports_cached_tokens() -> None:
    """What the sidecar and the audits rely on is switched on."""
    command = engine_command(ENGINE, Path("/tmp/x"), Path("py"), Path("/cache"))

    assert command.argv[:3] == ("py", "-m", "vllm.entrypoints.openai.api_server")
    assert after(command.argv, "--num-gpu-blocks-override") == "400"
    assert after(command.argv, "--served-model-name") == "tiny"
    assert Path(after(command.argv, "--model")).is_absolute()
    assert "--enable-prompt-tokens-details" in command.argv
    assert command.env["HF_HUB_OFFLINE"] == "1"
    assert command.env["OMP_NUM_THREADS"] == "1"
    assert command.env["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    assert command.env["VLLM_SERVER_DEV_MODE"] == "1"
    assert command.env["VLLM_CACHE_ROOT"] == "/cache/vllm"


def test_an_emulated_pod_has_the_sizes_of_a_vllm_pod() -> None:
    """The same ports, and all blocks but the one that vLLM never fills."""
    argv = emulator_command(ENGINE, "h100-1").argv

    assert argv[:3] == (sys.executable, "-m", "sim.emulator")
    assert after(argv, "--hardware") == "h100-1"
    assert after(argv, "--tokenizer") == str(Path("models/demo").resolve())
    assert (after(argv, "--base-port"), after(argv, "--events-base-port")) == ("8100", "5557")
    assert after(argv, "--replay-base-port") == "5558"
    assert (after(argv, "--block-tokens"), after(argv, "--kv-tokens")) == ("32", "12768")
    assert (after(argv, "--max-model-tokens"), after(argv, "--max-sequences")) == ("4096", "32")


def test_emulated_pods_need_a_tokenizer_only() -> None:
    """Unless they are given a model; sidecars call them by what is modelled."""
    given = Path("models/demo")

    assert FleetSpec().model_path.name == "demo"
    assert FleetSpec(pods="emulated").model_path.name == "tokenizer"
    assert FleetSpec(pods="emulated", model=given).model_path == given
    assert (FleetSpec().accelerator, FleetSpec(pods="emulated").accelerator) == ("cpu", "cpu-demo")


def service(kind: str, *extra: str) -> ServiceSpec:
    """A replica of a kind."""
    return ServiceSpec(
        kind=kind,
        name=f"{kind}-0",
        port=7000,
        metrics_port=7001,
        etcd="127.0.0.1:2379",
        nats="nats://127.0.0.1:4222",
        http_port=7002,
        engine=ENGINE,
        extra_flags=extra,
    )


def test_every_service_takes_the_common_flags() -> None:
    """Addresses, replica id and log format, whatever the kind."""
    for kind in KINDS:
        argv = service_command(service(kind)).argv

        assert argv[:3] == (sys.executable, "-m", f"services.{kind}")
        assert after(argv, "--etcd") == "127.0.0.1:2379"
        assert after(argv, "--nats") == "nats://127.0.0.1:4222"
        assert after(argv, "--listen") == "127.0.0.1:7000"
        assert after(argv, "--metrics-listen") == "127.0.0.1:7001"
        assert after(argv, "--replica-id") == f"{kind}-0"
        assert after(argv, "--log-format") == "text"


def test_a_sidecar_is_told_its_engine_and_a_gateway_its_http_address() -> None:
    """Flags of one kind only."""
    sidecar = service_command(service("sidecar")).argv
    gateway = service_command(service("gateway")).argv

    assert after(sidecar, "--engine-url") == "http://127.0.0.1:8100"
    assert after(sidecar, "--endpoint-id") == "pod-1"
    assert after(sidecar, "--accelerator") == "cpu"
    assert after(gateway, "--http-listen") == "127.0.0.1:7002"


def test_extra_flags_come_last() -> None:
    """So that they win over the table's."""
    argv = service_command(service("trainer", "--min-samples", "10")).argv

    assert argv[-2:] == ("--min-samples", "10")
