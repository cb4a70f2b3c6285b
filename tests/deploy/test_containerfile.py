"""What can be checked of the image without building it."""

import re

from tests.deploy.observability import ROOT
from tests.deploy.rendering import containers_of, of_kind, pod_of, render

CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()


def test_copied_sources_exist_and_are_not_ignored() -> None:
    """Everything that is copied from the context is there and let through."""
    ignored = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().splitlines()
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()
    }

    assert "farsight" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored


def test_process_runs_as_the_user_of_the_manifests() -> None:
    """The image's user is numeric, not root, and the one that the pods ask for."""
    (user,) = re.findall(r"^USER (\d+):\d+$", CONTAINERFILE, re.MULTILINE)
    contexts = [
        pod_of(d)["securityContext"] for d in of_kind(render("base"), "Deployment").values()
    ]

    assert {context["runAsUser"] for context in contexts} == {int(user)}
    assert int(user) > 0


def test_caches_lie_on_writable_mounts() -> None:
    """With a read-only root, what Numba and the tokenizer library write goes to an emptyDir."""
    written = re.findall(r"(?:NUMBA_CACHE_DIR|HF_HOME)=(\S+)", CONTAINERFILE)

    for deployment in of_kind(render("base"), "Deployment").values():
        (container,) = containers_of(deployment)
        mounts = [m["mountPath"] for m in container["volumeMounts"] if "readOnly" not in m]
        assert all(any(path.startswith(mount) for mount in mounts) for path in written)


def test_an_image_is_a_service() -> None:
    """Images are named after the packages that the build argument chooses from."""
    example = render("overlays/example")
    images = {
        c["image"]
        for d in of_kind(example, "Deployment").values()
        for c in containers_of(d)
        if c["image"].startswith("farsight-")
    }
    services = {path.parent.name for path in ROOT.glob("services/*/__main__.py")}

    assert {re.sub(r"^farsight-(.+):.+$", r"\1", image) for image in images} == services
