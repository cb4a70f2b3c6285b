"""The look of policies."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from sim.report.palette import COLOURS, looks

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
PROTANOPIA = [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]
DEUTERANOPIA = [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def lab(colour: str, vision: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIELAB of a colour as somebody sees it."""
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(TO_XYZ @ np.clip(vision @ linear, 0.0, 1.0) / WHITE)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", [np.eye(3).tolist(), PROTANOPIA, DEUTERANOPIA])
def test_colours_stay_apart_for_every_reader(vision: list[list[float]]) -> None:
    """Any two of them and black differ by far more than the 2.3 that can just be seen."""
    seen = [lab(colour, np.array(vision)) for colour in (*COLOURS, "#000000")]

    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 15


def test_every_policy_looks_different() -> None:
    """Also when there are more policies than colours."""
    found = looks([f"policy-{n}" for n in range(20)] + ["oracle"])

    assert len(set(found.values())) == 21
    assert found["oracle"].colour == "#000000"


def test_a_look_depends_on_the_policies_only() -> None:
    """Not on their order or number of cells."""
    assert looks(["b", "a", "b", "oracle"]) == looks(["oracle", "a", "b"])
