"""One row per request that the simulated clients sent."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

ROW = np.dtype(
    [
        ("stage", "i4"),
        ("arrived_s", "f8"),  # the workload wanted it sent
        ("sent_s", "f8"),  # the load generator sent it
        ("first_token_s", "f8"),  # at the client; NaN when none came
        ("ended_s", "f8"),  # last token or failure, at the client
        ("prompt_tokens", "i8"),
        ("output_tokens", "i8"),  # received
        ("cached_tokens", "i8"),  # the engine took them from its caches
        ("cached_predicted_tokens", "i8"),  # by the router, for the endpoint that served
        ("ttft_predicted_s", "f8"),  # q50 of the decision, from dispatch
        ("endpoint", "i4"),  # that served, -1 when none did
        ("attempts", "i4"),
        ("status", "u1"),  # values of Status
        ("slo_ttft_ms", "f8"),  # NaN: no target
        ("slo_tpot_ms", "f8"),
    ]
)
Rows = npt.NDArray[np.void]


class Status(IntEnum):
    """How a request ended."""

    COMPLETED = 0
    FAILED = 1


class RequestLog:
    """Rows in the order in which requests were sent; grows as needed."""

    def __init__(self) -> None:
        self._rows = np.zeros(1024, ROW)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def begin(self) -> int:
        """A new row, zeros for now; its number."""
        if self._count == self._rows.size:
            self._rows = np.concatenate([self._rows, np.zeros(self._rows.size, ROW)])
        self._count += 1
        return self._count - 1

    def write(self, row: int, values: tuple[float, ...]) -> None:
        """Fill a row, in the order of `ROW`."""
        self._rows[row] = values

    @property
    def rows(self) -> Rows:
        """The rows so far: a view, shape (n,)."""
        return self._rows[: self._count]
