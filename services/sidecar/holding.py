"""What is held on one tier in one KV group, as a snapshot tells it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from services.sidecar.changes import Tier


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """Each key once, those of position 0 first; `position_counts` has the keys at each position."""

    tier: Tier
    group: int
    keys: Keys
    position_counts: npt.NDArray[np.int64]
