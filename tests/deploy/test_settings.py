"""The variables in the manifests are settings that the services take."""

import importlib

import pytest

from farsight.settings import ServiceSettings, load
from tests.deploy.rendering import Manifest, containers_of, of_kind, render

POD = {"status.podIP": "10.1.2.3", "metadata.name": "some-pod-7d9f-x2x4z"}


def farsight_container(workload: str) -> Manifest:
    """The container of ours in a workload of the example."""
    deployment = of_kind(render("overlays/example"), "Deployment")[workload]
    (found,) = [c for c in containers_of(deployment) if c["name"].startswith("farsight")]
    return found


def environment_of(container: Manifest) -> dict[str, str]:
    """Variables as the kubelet makes them."""
    maps = of_kind(render("overlays/example"), "ConfigMap")
    variables: dict[str, str] = {}
    for source in container["envFrom"]:
        variables |= maps[source["configMapRef"]["name"]]["data"]
    for entry in container["env"]:
        if "value" in entry:
            value = entry["value"]
            for name, known in variables.items():
                value = value.replace(f"$({name})", known)
        else:
            value = POD[entry["valueFrom"]["fieldRef"]["fieldPath"]]
        variables[entry["name"]] = value
    return variables


def settings_class(service: str) -> type[ServiceSettings]:
    """The settings of a service."""
    module = importlib.import_module(f"services.{service}.settings")
    found: type[ServiceSettings] = getattr(module, f"{service.capitalize()}Settings")
    return found


@pytest.mark.parametrize(
    ("workload", "service"),
    [
        ("indexer", "indexer"),
        ("predictor", "predictor"),
        ("trainer", "trainer"),
        ("router", "router"),
        ("gateway", "gateway"),
        ("example-pool", "sidecar"),
    ],
)
def test_every_variable_is_a_setting(
    workload: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service starts with the variables of its container, and each of ours is one it knows."""
    variables = environment_of(farsight_container(workload))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    settings = load(settings_class(service), [])

    ours = {name.removeprefix("FARSIGHT_").lower() for name in variables if "FARSIGHT_" in name}
    assert ours <= set(type(settings).model_fields)
    assert settings.advertise.startswith("10.1.2.3:")
    assert settings.replica_id == POD["metadata.name"]
