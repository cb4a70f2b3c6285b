"""Least squares that a few far-off rows hardly move."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

Float64s = npt.NDArray[np.float64]

_ITERATIONS = 20
_HUBER_DEVIATIONS = 1.345
_MAD_TO_DEVIATION = 1.4826
_SMALLEST_DEVIATION = 0.005


def robust_nnls(terms: Float64s, target: Float64s, unit: Float64s) -> Float64s:
    """Factors >= 0 with `terms @ factors` close to `target`, each row in its unit (Huber).

    :param terms: shape (rows, factors).
    """
    rows, aim = terms / unit[:, None], target / unit
    scale = np.maximum(np.abs(rows).max(axis=0), np.finfo(np.float64).tiny)
    rows = rows / scale
    weight = np.ones(aim.size)
    factors = np.zeros(scale.size)
    for _ in range(_ITERATIONS):
        root = np.sqrt(weight)
        factors, _ = nnls(rows * root[:, None], aim * root)
        distance = np.abs(rows @ factors - aim)
        deviation = max(_MAD_TO_DEVIATION * float(np.median(distance)), _SMALLEST_DEVIATION)
        weight = np.minimum(1.0, _HUBER_DEVIATIONS * deviation / np.maximum(distance, 1e-12))
    return np.asarray(factors / scale)
