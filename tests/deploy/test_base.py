"""What every service's Deployment promises."""

import re
from typing import Any

import pytest

from tests.deploy.rendering import Manifest, containers_of, of_kind, pod_of, render

SERVICES = ("indexer", "predictor", "trainer", "router", "gateway")
every_service = pytest.mark.parametrize("service", SERVICES)


def deployment(service: str) -> Manifest:
    """The Deployment of a service."""
    return of_kind(render("base"), "Deployment")[service]


def container(service: str) -> Manifest:
    """The only container of a service's pods."""
    (found,) = containers_of(deployment(service))
    return found


def settings() -> dict[str, str]:
    """The variables that every service shares."""
    (found,) = of_kind(render("base"), "ConfigMap").values()
    variables: dict[str, str] = found["data"]
    return variables


def test_each_service_has_deployment_service_and_disruption_budget() -> None:
    """The base names the five services and nothing else."""
    base = render("base")

    assert sorted(of_kind(base, "Deployment")) == sorted(SERVICES)
    assert sorted(of_kind(base, "PodDisruptionBudget")) == sorted(SERVICES)
    assert sorted(of_kind(base, "Service")) == sorted([*SERVICES, "metrics"])


@every_service
def test_selectors_agree(service: str) -> None:
    """Deployment, Service, budget and spread select the pods of the service."""
    base, workload = render("base"), deployment(service)
    labels = workload["spec"]["template"]["metadata"]["labels"]
    (spread,) = pod_of(workload)["topologySpreadConstraints"]

    selectors = [
        workload["spec"]["selector"]["matchLabels"],
        of_kind(base, "Service")[service]["spec"]["selector"],
        of_kind(base, "PodDisruptionBudget")[service]["spec"]["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ]

    assert labels["app.kubernetes.io/name"] == service
    assert all(selector == labels for selector in selectors)


@every_service
def test_service_ports_are_container_ports(service: str) -> None:
    """Each port of a Service leads to a named port of the container."""
    named = {port["name"] for port in container(service)["ports"]}
    wanted = of_kind(render("base"), "Service")[service]["spec"]["ports"]

    assert {port["targetPort"] for port in wanted} <= named


@pytest.mark.parametrize("service", ["indexer", "predictor", "trainer", "router"])
def test_grpc_services_are_headless(service: str) -> None:
    """Clients see every replica and balance among them."""
    assert of_kind(render("base"), "Service")[service]["spec"]["clusterIP"] == "None"


@every_service
def test_only_readiness_depends_on_peers(service: str) -> None:
    """Readiness is gRPC health; startup and liveness ask the exporter."""
    found = container(service)
    ports = {port["name"]: port["containerPort"] for port in found["ports"]}

    assert found["readinessProbe"]["grpc"] == {"port": ports["grpc"]}
    for probe in ("startupProbe", "livenessProbe"):
        assert found[probe]["httpGet"] == {"port": "metrics", "path": "/metrics"}


@every_service
def test_listeners_match_the_declared_ports(service: str) -> None:
    """The addresses in the settings are the ports that probes and Services use."""
    ports = {port["name"]: port["containerPort"] for port in container(service)["ports"]}
    variables = settings() | {
        v["name"]: v["value"] for v in container(service)["env"] if "value" in v
    }

    assert variables["FARSIGHT_LISTEN"] == f"0.0.0.0:{ports['grpc']}"
    assert variables["FARSIGHT_METRICS_LISTEN"] == f"0.0.0.0:{ports['metrics']}"
    served = ports["http" if service == "gateway" else "grpc"]
    assert variables["FARSIGHT_ADVERTISE"] == f"$(POD_IP):{served}"


def test_gateway_listens_where_its_service_sends() -> None:
    """The HTTP address in the settings is the port named http."""
    ports = {port["name"]: port["containerPort"] for port in container("gateway")["ports"]}
    variables = {v["name"]: v.get("value") for v in container("gateway")["env"]}

    assert variables["FARSIGHT_HTTP_LISTEN"] == f"0.0.0.0:{ports['http']}"


@every_service
def test_replica_is_named_after_its_pod(service: str) -> None:
    """Pod address and name reach the settings, the address before the variable that uses it."""
    variables = {v["name"]: v for v in container(service)["env"]}
    order = list(variables)

    assert variables["POD_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert variables["FARSIGHT_REPLICA_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert order.index("POD_IP") < order.index("FARSIGHT_ADVERTISE")


@every_service
def test_grace_period_outlasts_the_drain(service: str) -> None:
    """Kubernetes waits longer than the hook, the calls and what is sent after them may take."""
    grace_s = pod_of(deployment(service))["terminationGracePeriodSeconds"]
    hook_s = container(service).get("lifecycle", {}).get("preStop", {}).get("sleep", {})

    assert grace_s >= 2 * float(settings()["FARSIGHT_DRAIN_S"]) + hook_s.get("seconds", 0) + 10


def test_gateway_serves_while_proxies_still_send_to_it() -> None:
    """The gateway goes on for a moment after its pod has left the Service."""
    assert container("gateway")["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


def mebibytes(quantity: str) -> float:
    """A memory quantity in MiB."""
    match = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert match is not None
    return int(match[1]) * (1024 if match[2] == "Gi" else 1)


@every_service
def test_resources_are_requested_and_limited(service: str) -> None:
    """CPU and memory have a request and a limit that is no smaller."""
    resources = container(service)["resources"]

    assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}
    assert mebibytes(resources["limits"]["memory"]) >= mebibytes(resources["requests"]["memory"])


def writable_paths(found: Manifest, pod: Manifest) -> set[str]:
    """Mount paths of a container that are backed by an emptyDir."""
    scratch = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    return {m["mountPath"] for m in found["volumeMounts"] if m["name"] in scratch}


@every_service
def test_pods_are_hardened(service: str) -> None:
    """Non-root, read-only root, no capability, no API token, default seccomp profile."""
    pod, found = pod_of(deployment(service)), container(service)
    expected: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }

    assert found["securityContext"] == expected
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert writable_paths(found, pod) == {"/tmp", "/var/cache/farsight"}


@every_service
def test_rollouts_and_drains_keep_a_replica(service: str) -> None:
    """At least two replicas, none taken away before its successor is ready, one at a time."""
    base, spec = render("base"), deployment(service)["spec"]
    autoscaler = of_kind(base, "HorizontalPodAutoscaler").get(service)
    replicas = spec["replicas"] if autoscaler is None else autoscaler["spec"]["minReplicas"]

    assert replicas >= 2
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert of_kind(base, "PodDisruptionBudget")[service]["spec"]["maxUnavailable"] == 1


def test_router_scales_on_cpu() -> None:
    """The autoscaler owns the router's replica count."""
    autoscaler = of_kind(render("base"), "HorizontalPodAutoscaler")["router"]["spec"]

    assert "replicas" not in deployment("router")["spec"]
    assert autoscaler["scaleTargetRef"]["name"] == "router"
    assert autoscaler["metrics"][0]["resource"]["name"] == "cpu"
    assert autoscaler["maxReplicas"] > autoscaler["minReplicas"]


def test_network_policy_opens_the_declared_ports_only() -> None:
    """Every named container port is open, and nothing else is."""
    (policy,) = of_kind(render("base"), "NetworkPolicy").values()
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}

    declared = {port["name"] for s in SERVICES for port in container(s)["ports"]}

    assert opened == declared
