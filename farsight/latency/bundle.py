"""The bundle: one stored zip that holds a whole latency model.

    manifest.json  rates, offsets, schema hash, origin, scores
    ttft.onnx      residual of TTFT
    tpot.onnx      residual of TPOT
    golden.npy     (rows, FEATURE_COUNT + 4) float32: features, then the expected q50 and q90 of
                   TTFT and of TPOT

A bundle from the network is bounded, checked against its digest and schema, and must answer its
golden rows before it is used.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.errors import BadBundle
from farsight.latency.features import FEATURE_COUNT, FeatureMatrix
from farsight.latency.fitted import FittedModel, LatencyFit, TargetFit
from farsight.latency.manifest import Manifest, decode_manifest, encode_manifest
from farsight.latency.predictions import Predictions

MAX_BUNDLE_BYTES = 8 * 1024 * 1024
MAX_GOLDEN_ROWS = 64
GOLDEN_TOLERANCE = 1e-3

_MANIFEST, _TTFT, _TPOT, _GOLDEN = "manifest.json", "ttft.onnx", "tpot.onnx", "golden.npy"
_MEMBER_BYTES = {_MANIFEST: 64 * 1024, _TTFT: 3_500_000, _TPOT: 3_500_000, _GOLDEN: 64 * 1024}
_GOLDEN_COLUMNS = FEATURE_COUNT + 4
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A verified bundle, ready to predict."""

    manifest: Manifest
    sha256: str
    fitted: FittedModel

    @property
    def version(self) -> int:
        """Rises by one with each publication."""
        return self.manifest.version

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """One prediction per row of a (rows, FEATURE_COUNT) matrix."""
        return self.fitted.predict(matrix)


def digest(data: bytes) -> str:
    """sha256 of a bundle, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def pack(manifest: Manifest, fit: LatencyFit, golden_features: FeatureMatrix) -> bytes:
    """A bundle; the first MAX_GOLDEN_ROWS rows given become its golden rows."""
    features = golden_features[:MAX_GOLDEN_ROWS].astype(np.float32)
    golden = np.hstack((features, FittedModel(fit).predict(features).stack()))
    array = io.BytesIO()
    np.save(array, golden.astype("<f4"), allow_pickle=False)
    members = {
        _MANIFEST: encode_manifest(manifest),
        _TTFT: fit.ttft.onnx,
        _TPOT: fit.tpot.onnx,
        _GOLDEN: array.getvalue(),
    }
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for name, content in members.items():
            out.writestr(zipfile.ZipInfo(name, _EPOCH), content)
    return archive.getvalue()


def load(data: bytes, expected_sha256: str) -> LoadedBundle:
    """Verify a bundle and make it ready.

    :raises BadBundle: `size`, `digest`, `format`, `schema` or `golden`.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise BadBundle("size", f"{len(data)} bytes, expected at most {MAX_BUNDLE_BYTES}")
    if digest(data) != expected_sha256:
        raise BadBundle("digest", f"sha256 {digest(data)}, expected {expected_sha256}")
    members = _read_members(data)
    manifest = decode_manifest(members[_MANIFEST])
    fit = LatencyFit(
        manifest.rates,
        TargetFit(members[_TTFT], manifest.ttft_offsets),
        TargetFit(members[_TPOT], manifest.tpot_offsets),
    )
    try:
        fitted = FittedModel(fit, manifest.version)
    except ValueError as error:
        raise BadBundle("format", str(error)) from error
    _check_golden(fitted, _read_golden(members[_GOLDEN]))
    return LoadedBundle(manifest, expected_sha256, fitted)


def _read_members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sorted(entry.filename for entry in entries) != sorted(_MEMBER_BYTES):
                raise BadBundle("format", f"expected the members {', '.join(_MEMBER_BYTES)}")
            for entry in entries:
                if entry.file_size > _MEMBER_BYTES[entry.filename]:
                    raise BadBundle("size", f"{entry.filename}: {entry.file_size} bytes")
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                    raise BadBundle("format", f"{entry.filename} is not a plain stored member")
            return {entry.filename: archive.read(entry) for entry in entries}
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, OSError) as error:
        raise BadBundle("format", f"zip: {error}") from error


def _read_golden(data: bytes) -> npt.NDArray[np.float32]:
    try:
        golden = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadBundle("format", f"{_GOLDEN}: {error}") from error
    if not isinstance(golden, np.ndarray) or golden.dtype != np.float32 or golden.ndim != 2:
        raise BadBundle("format", f"{_GOLDEN} is no float32 matrix")
    if golden.shape[1] != _GOLDEN_COLUMNS or not 1 <= len(golden) <= MAX_GOLDEN_ROWS:
        raise BadBundle("format", f"{_GOLDEN} is {golden.shape}")
    return golden


def _check_golden(fitted: FittedModel, golden: npt.NDArray[np.float32]) -> None:
    features = np.ascontiguousarray(golden[:, :FEATURE_COUNT])
    expected = golden[:, FEATURE_COUNT:]
    if not (expected > 0).all() or not np.isfinite(expected).all():
        raise BadBundle("golden", "expected answers are not positive and finite")
    gap = float(np.abs(np.log(fitted.predict(features).stack() / expected)).max())
    if not gap <= GOLDEN_TOLERANCE:
        raise BadBundle("golden", f"answers differ by {gap:.2g} in log space")
