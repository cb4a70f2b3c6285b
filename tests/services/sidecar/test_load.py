"""The load of a rank from its metrics page."""

import pytest

from services.sidecar.load import Scrape, parse
from services.sidecar.wire import EngineLoad


def page(running: str = "2.0", waiting: str = "1.0", usage: str = "0.25") -> bytes:
    """A page with one rank."""
    return (
        "#\n"
        f'vllm:num_requests_running{{engine="0"}} {running}\n'
        f'vllm:num_requests_waiting{{engine="0"}} {waiting}\n'
        f'vllm:kv_cache_usage_perc{{engine="0"}} {usage}\n'
        "process_start_time_seconds 5.5\n"
    ).encode()


def test_reads_the_load() -> None:
    """Running, waiting, share of the cache in use, and when the process started."""
    assert parse(page(), 0) == Scrape(EngineLoad(2, 1, 0.25), 5.5)


@pytest.mark.parametrize(
    "bad", [page(running="NaN"), page(waiting="-1"), page(usage="inf"), page(running="1e30"), b""]
)
def test_values_out_of_range_are_no_load(bad: bytes) -> None:
    """Better none than a wrong one."""
    assert parse(bad, 0) is None


def test_another_rank_is_not_ours() -> None:
    """Each endpoint reads its own."""
    assert parse(page(), 1) is None
