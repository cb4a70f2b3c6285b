"""Every part of the benchmark at tiny size: real processes, NATS, ZMQ and gRPC."""

import os
from collections.abc import Iterator

import pytest

from bench.index.figures import ROWS
from bench.index.parts import PARTS
from bench.index.peer_holders import has_dynamo
from bench.index.processes import Cores
from bench.index.sizes import QUICK

NAMES = {
    "ingest": {
        f"{prefix}{name}"
        for prefix in ("", "sized_", "dict_")
        for name in (
            *("ingest_blocks_per_s", "ingest_blocks_per_cpu_s"),
            *("bytes_per_block", "rss_bytes_per_block"),
        )
    }
    | {"workload_distinct_blocks", "workload_held_blocks", "workload_shared_ratio"},
    "match450": {
        f"{prefix}match450_{which}_us"
        for prefix in ("", "index_", "dict_")
        for which in ("p50", "p99")
    },
    "match8192": {"match8192_1000_p50_ms", "index_match8192_1000_p50_ms"},
    "clear": {"clear_ms", "clear_cpu_ms", "clear_blocked_ms"},
    "nats": {
        *("nats_ingest_blocks_per_s", "nats_ingest_blocks_per_cpu_s"),
        "nats_publish_limit_blocks_per_s",
    },
    "sidecar": {
        f"{prefix}blocks_per_{second}"
        for prefix in ("sidecar_", "sidecar_churn_")
        for second in ("s", "cpu_s")
    },
    "sidecar-latency": {
        f"sidecar_{what}{which}_ms" for what in ("", "echo_", "added_") for which in ("p50", "p99")
    },
    "rpc": {
        *("match_rpc_p50_over_echo", "match_rpc1_rate_over_echo", "match_rpc1_cpu_over_echo"),
        *("match_rpc16_p50_over_echo", "match_rpc16_rate_over_echo", "match_rpc16_cpu_over_echo"),
    }
    | {
        f"{name}_rpc{in_flight}_{what}"
        for name in ("match", "echo")
        for in_flight in (1, 16)
        for what in ("p50_ms", "rate", "cpu_us")
    },
    "recovery": {"recovery_10m_s"},
}


@pytest.fixture
def cores() -> Iterator[Cores]:
    """Cores, with this process on the one that loads."""
    before = os.sched_getaffinity(0)
    taken = Cores.take()
    os.sched_setaffinity(0, {taken.load})
    yield taken
    os.sched_setaffinity(0, before)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_finds_its_figures(part: str, cores: Cores) -> None:
    """All of them, and none that cannot be; only what is added may be less than nothing."""
    found = PARTS[part](QUICK, cores)

    of_dynamo = {name for name in found if name.startswith("dynamo_")}
    assert found.keys() - of_dynamo == NAMES[part]
    assert {
        name: value for name, value in found.items() if value <= 0 and "added" not in name
    } == {}
    assert bool(of_dynamo) == (has_dynamo() and part in ("ingest", "match450"))
    for name, value in found.items():
        if name.endswith("_over_echo"):
            assert 0.01 < value < 100


def test_every_row_of_the_table_is_measured() -> None:
    """By one of the parts, and so is what stands beside it."""
    measured = set[str]().union(*NAMES.values())

    for row in ROWS:
        assert row.name in measured
        for peer, name in row.beside.items():
            assert peer == "Dynamo" or name in measured
