"""The example overlay: sidecars, etcd and NATS beside the base."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import yaml

from farsight.local.programs import program
from tests.deploy.rendering import DEPLOY, Manifest, containers_of, of_kind, pod_of, render

EXAMPLE = "overlays/example"


def engine() -> Manifest:
    """The Deployment of the engines."""
    return of_kind(render(EXAMPLE), "Deployment")["example-pool"]


def part(name: str) -> Manifest:
    """A container of the engine's pod."""
    (found,) = [c for c in containers_of(engine()) if c["name"] == name]
    return found


def test_sidecar_is_a_native_one() -> None:
    """It starts before the engine and does not keep the pod alive."""
    (sidecar,) = pod_of(engine())["initContainers"]

    assert sidecar["name"] == "farsight-sidecar"
    assert sidecar["restartPolicy"] == "Always"


def test_sidecar_does_not_decide_the_pods_readiness() -> None:
    """Trouble of Farsight neither takes an engine out of a Service nor keeps it from starting."""
    sidecar = part("farsight-sidecar")

    assert "readinessProbe" not in sidecar
    for probe in ("startupProbe", "livenessProbe"):
        assert sidecar[probe]["httpGet"]["path"] == "/metrics"


def test_endpoint_leaves_before_its_engine_stops() -> None:
    """The sidecar is told at once; the engine answers on, and the pod lives long enough."""
    hook = part("farsight-sidecar")["lifecycle"]["preStop"]["exec"]["command"]
    serving_s = part("vllm")["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert hook == ["sh", "-c", "kill -TERM 1"]
    assert pod_of(engine())["terminationGracePeriodSeconds"] >= serving_s + 30


def test_sidecar_is_hardened_and_bounded() -> None:
    """As every service, whatever the engine's container may do."""
    sidecar = part("farsight-sidecar")

    assert sidecar["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert set(sidecar["resources"]["requests"]) == {"cpu", "memory"}
    assert set(sidecar["resources"]["limits"]) == {"cpu", "memory"}


def test_engine_publishes_kv_events_that_can_be_replayed() -> None:
    """The flag is JSON, and the engine binds both sockets."""
    flags = dict(a.split("=", 1) for a in part("vllm")["command"] if "=" in a)
    events = json.loads(flags["--kv-events-config"])

    assert events["enable_kv_cache_events"] is True
    assert events["publisher"] == "zmq"
    assert "*" in events["endpoint"]
    assert "*" in events["replay_endpoint"]


def test_routers_read_the_tokenizers_that_the_engines_name() -> None:
    """Both mount the same claim at the same path."""
    router = of_kind(render(EXAMPLE), "Deployment")["router"]
    claims = of_kind(render(EXAMPLE), "PersistentVolumeClaim")

    for workload in (router, engine()):
        mounts = {m["name"]: m for c in containers_of(workload) for m in c["volumeMounts"]}
        volumes = {v["name"]: v for v in pod_of(workload)["volumes"]}
        assert mounts["models"]["mountPath"] == "/models"
        assert mounts["models"]["readOnly"] is True
        assert volumes["models"]["persistentVolumeClaim"]["claimName"] in claims


def test_stores_keep_their_data() -> None:
    """etcd and NATS have a disk, probes, limits and a policy that lets Farsight in only."""
    sets = of_kind(render(EXAMPLE), "StatefulSet")
    policies = of_kind(render(EXAMPLE), "NetworkPolicy")

    assert sorted(sets) == ["etcd", "nats"]
    for name, workload in sets.items():
        (container,) = containers_of(workload)
        assert workload["spec"]["volumeClaimTemplates"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        allowed = [rule for rule in policies[name]["spec"]["ingress"] if "from" in rule]
        assert [port["port"] for port in allowed[0]["ports"]] == ["client"]


def test_settings_point_at_the_stores() -> None:
    """The addresses in the base are Services of the example."""
    (settings,) = [m for n, m in of_kind(render(EXAMPLE), "ConfigMap").items() if "settings" in n]
    services = of_kind(render(EXAMPLE), "Service")

    for address in (settings["data"]["FARSIGHT_ETCD"], settings["data"]["FARSIGHT_NATS"]):
        host, _, port = address.removeprefix("nats://").partition(":")
        assert int(port) in [p["port"] for p in services[host]["spec"]["ports"]]


def test_nats_accepts_its_configuration(tmp_path: Path) -> None:
    """The server reads the file and finds JetStream's directory."""
    text = (DEPLOY / EXAMPLE / "nats.conf").read_text()
    file = tmp_path / "nats.conf"
    file.write_text(text.replace('"/data"', f'"{tmp_path}"'))

    done = subprocess.run([program("nats-server"), "-t", "-c", str(file)], check=False)

    assert 'store_dir: "/data"' in text
    assert done.returncode == 0


def test_sidecar_component_fits_engines_and_stores_that_exist_already(tmp_path: Path) -> None:
    """An overlay as `deploy/README.md` shows it: own namespace, own etcd and NATS, own engines."""
    shutil.copy(DEPLOY / EXAMPLE / "engines.yaml", tmp_path)
    deploy = os.path.relpath(DEPLOY.resolve(), tmp_path.resolve())
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "models",
        "resources": [f"{deploy}/base", "engines.yaml"],
        "components": [f"{deploy}/components/sidecar"],
        "configMapGenerator": [
            {"name": "settings", "behavior": "merge", "literals": ["FARSIGHT_ETCD=etcd.infra:2379"]}
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))

    manifests = render(str(tmp_path))

    (settings,) = of_kind(manifests, "ConfigMap").values()
    assert settings["data"]["FARSIGHT_ETCD"] == "etcd.infra:2379"
    assert settings["data"]["FARSIGHT_LISTEN"] == "0.0.0.0:9000"
    (sidecar,) = pod_of(of_kind(manifests, "Deployment")["example-pool"])["initContainers"]
    assert sidecar["envFrom"][0]["configMapRef"]["name"] == settings["metadata"]["name"]
    assert {m["metadata"].get("namespace", "models") for m in manifests} == {"models"}
