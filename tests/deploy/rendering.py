"""Manifests as `kubectl kustomize` renders them."""

import functools
import subprocess
from pathlib import Path
from typing import Any

import yaml

from farsight.local.programs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
Manifest = dict[str, Any]


@functools.cache
def render(directory: str) -> tuple[Manifest, ...]:
    """Every document of a directory under `deploy/`, or of an absolute path."""
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(DEPLOY / directory)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> dict[str, Manifest]:
    """The documents of a kind, by name."""
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def pod_of(workload: Manifest) -> Manifest:
    """The pod spec of a Deployment or StatefulSet."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def containers_of(workload: Manifest) -> list[Manifest]:
    """Every container of a workload, sidecars included."""
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]
