"""Every rendered document is what the Kubernetes API accepts."""

import kubernetes_validate
import pytest

from tests.deploy.rendering import render

OLDEST, NEWEST = "1.30", kubernetes_validate.latest_version()


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("directory", ["base", "overlays/example"])
def test_every_document_matches_the_published_schema(directory: str, version: str) -> None:
    """No document has an unknown field, a wrong type or lacks what is required."""
    manifests = render(directory)

    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)

    assert manifests


@pytest.mark.parametrize("directory", ["base", "overlays/example"])
def test_no_two_documents_have_the_same_name(directory: str) -> None:
    """Kind and name are unique, and everything but the namespace lies in a namespace."""
    manifests = render(directory)

    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    outside = [m["kind"] for m in manifests if "namespace" not in m["metadata"]]

    assert len(set(names)) == len(names)
    assert outside == ["Namespace"]
