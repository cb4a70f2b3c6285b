"""Bundles: packed, loaded, and refused when anything is wrong with them."""

import contextlib
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.errors import BadBundle
from farsight.latency import bundle
from farsight.latency.bundle import MAX_BUNDLE_BYTES, digest, load, pack
from farsight.latency.conformal import Offsets
from farsight.latency.features import SCHEMA_HASH
from farsight.latency.fit import fit_latency
from farsight.latency.fitted import FittedModel, LatencyFit
from farsight.latency.manifest import FORMAT_VERSION, Manifest
from farsight.latency.onnx_export import export
from farsight.latency.rates import DEFAULT_RATES
from farsight.latency.scores import score
from tests.fakes.latency_samples import requests, samples


def fit_and_manifest() -> tuple[LatencyFit, Manifest]:
    """A small fit and what its bundle says of it."""
    known = samples(400, seed=1)
    fit = fit_latency(known, DEFAULT_RATES)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model="org/model-8b",
        version=7,
        schema_hash=SCHEMA_HASH,
        trained_unix_ms=1_700_000_000_000,
        sample_count=len(known),
        rates=fit.rates,
        ttft_offsets=fit.ttft.offsets,
        tpot_offsets=fit.tpot.offsets,
        holdout=score(FittedModel(fit), known),
    )
    return fit, manifest


FIT, MANIFEST = fit_and_manifest()
GOLDEN = requests(32, seed=2)
GOOD = pack(MANIFEST, FIT, GOLDEN)

Members = dict[str, bytes]


def members_of(data: bytes) -> Members:
    """The files in a bundle."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def reason(data: bytes, sha256: str | None = None) -> str:
    """Why a bundle is refused."""
    with pytest.raises(BadBundle) as refusal:
        load(data, digest(data) if sha256 is None else sha256)
    return refusal.value.kind


def npy(array: npt.NDArray[Any]) -> bytes:
    """An array as a .npy file."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=array.dtype == object)
    return out.getvalue()


def test_a_loaded_bundle_predicts_as_the_fit_did() -> None:
    """Packing and loading changes no answer and keeps the manifest."""
    rows = requests(500, seed=3)

    loaded = load(GOOD, digest(GOOD))

    assert np.array_equal(loaded.predict(rows).stack(), FittedModel(FIT).predict(rows).stack())
    assert loaded.manifest == MANIFEST
    assert (loaded.version, loaded.sha256) == (7, digest(GOOD))


def test_the_same_fit_packs_to_the_same_bytes() -> None:
    """The digest depends on the content alone."""
    assert pack(MANIFEST, FIT, GOLDEN) == GOOD


def test_a_changed_byte_is_refused() -> None:
    """Content and digest must agree."""
    changed = GOOD[:500] + bytes([GOOD[500] ^ 1]) + GOOD[501:]

    assert reason(changed, digest(GOOD)) == "digest"


def test_a_huge_file_is_refused_before_it_is_hashed() -> None:
    """The size bound comes first."""
    assert reason(bytes(MAX_BUNDLE_BYTES + 1), "") == "size"


def test_a_zip_bomb_is_refused_by_size() -> None:
    """A member that unpacks to more than its bound is never unpacked."""
    bomb = zipped(members_of(GOOD) | {"ttft.onnx": bytes(64_000_000)}, zipfile.ZIP_DEFLATED)

    assert len(bomb) < MAX_BUNDLE_BYTES
    assert reason(bomb) == "size"


def test_a_member_that_lies_about_its_size_is_refused() -> None:
    """A directory that claims fewer bytes than are stored fails the check sum."""
    entry = GOOD.rindex(b"PK\x01\x02", 0, GOOD.rindex(b"golden.npy"))
    stored = struct.unpack_from("<I", GOOD, entry + 24)[0]
    lying = GOOD[: entry + 24] + struct.pack("<I", stored - 100) + GOOD[entry + 28 :]

    assert reason(lying) == "format"


CORRUPTIONS: dict[str, tuple[str, Callable[[Members], Members]]] = {
    "a missing member": ("format", lambda m: {k: v for k, v in m.items() if k != "tpot.onnx"}),
    "an extra member": ("format", lambda m: m | {"extra.bin": b""}),
    "a path for a name": ("format", lambda m: {k.replace("golden", "../golden"): m[k] for k in m}),
    "no JSON": ("format", lambda m: m | {"manifest.json": b"\xff{"}),
    "a wrong type": ("format", lambda m: m | {"manifest.json": b'{"version": "one"}'}),
    "no ONNX": ("format", lambda m: m | {"ttft.onnx": b"not a model"}),
    "an empty ONNX": ("format", lambda m: m | {"ttft.onnx": b""}),
    "no npy": ("format", lambda m: m | {"golden.npy": b"\x93NUMPY"}),
    "a pickle": ("format", lambda m: m | {"golden.npy": npy(np.array([{}], dtype=object))}),
    "no golden rows": ("format", lambda m: m | {"golden.npy": npy(np.zeros((0, 16), np.float32))}),
    "a wrong shape": ("format", lambda m: m | {"golden.npy": npy(np.zeros((4, 3), np.float32))}),
    "zero answers": ("golden", lambda m: m | {"golden.npy": npy(np.zeros((4, 16), np.float32))}),
    "swapped models": (
        "golden",
        lambda m: m | {"ttft.onnx": m["tpot.onnx"], "tpot.onnx": m["ttft.onnx"]},
    ),
    "a forgotten residual": ("golden", lambda m: m | {"ttft.onnx": export(None)}),
    "another schema": (
        "schema",
        lambda m: (
            m
            | {
                "manifest.json": m["manifest.json"].replace(
                    SCHEMA_HASH.encode(), b"0123456789abcdef"
                )
            }
        ),
    ),
    "another format": (
        "format",
        lambda m: (
            m
            | {
                "manifest.json": m["manifest.json"].replace(
                    b'"format_version": 1', b'"format_version": 2'
                )
            }
        ),
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupt_contents_are_refused(name: str) -> None:
    """Every kind of bad content has its reason, even under a digest that fits."""
    expected, corrupt = CORRUPTIONS[name]

    assert reason(zipped(corrupt(members_of(GOOD)))) == expected


def test_golden_rows_that_differ_slightly_are_refused() -> None:
    """Half a per cent is too much."""
    members = members_of(GOOD)
    golden = np.load(io.BytesIO(members["golden.npy"]))
    golden[3, -1] *= 1.005

    assert reason(zipped(members | {"golden.npy": npy(golden)})) == "golden"


def test_compressed_members_are_refused() -> None:
    """Only stored members are read."""
    assert reason(zipped(members_of(GOOD), zipfile.ZIP_DEFLATED)) == "format"


@pytest.mark.parametrize(
    "manifest",
    [
        replace(MANIFEST, version=0),
        replace(MANIFEST, model=""),
        replace(MANIFEST, ttft_offsets=Offsets(0.5, 0.1)),
        replace(MANIFEST, ttft_offsets=Offsets(0.0, 100.0)),
        replace(
            MANIFEST, rates=replace(FIT.rates, tpot=replace(FIT.rates.tpot, tpot_base_ms=-1.0))
        ),
    ],
)
def test_a_manifest_out_of_bounds_is_refused(manifest: Manifest) -> None:
    """Versions, names, offsets and rates have bounds."""
    assert reason(pack(manifest, FIT, GOLDEN)) == "format"


def test_an_onnx_model_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A residual that takes fewer features does not fit the schema."""
    monkeypatch.setattr("farsight.latency.onnx_export.FEATURE_COUNT", 3)
    narrow = export(None)

    assert reason(zipped(members_of(GOOD) | {"ttft.onnx": narrow})) == "format"


@given(st.binary(max_size=2000))
def test_noise_is_refused(data: bytes) -> None:
    """No bytes crash the loader."""
    assert reason(data) == "format"


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_damage_under_a_fitting_digest_does_not_crash(position: int, flip: int) -> None:
    """A flipped byte is refused, or lies where it changes no answer."""
    damaged = bytearray(GOOD)
    damaged[position] ^= flip

    with contextlib.suppress(BadBundle):
        loaded = load(bytes(damaged), digest(bytes(damaged)))
        assert np.array_equal(
            loaded.predict(GOLDEN).stack(), FittedModel(FIT).predict(GOLDEN).stack()
        )


def test_bounds_of_the_members_fit_the_whole() -> None:
    """A bundle with every member at its bound is within the bundle's bound."""
    assert sum(bundle._MEMBER_BYTES.values()) < 0.99 * MAX_BUNDLE_BYTES
