"""Values out of a Prometheus page."""

from services.sidecar.exposition import find_line, labels, value

PAGE = b"""# HELP vllm:num_requests_running Requests.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running_by_reason{engine="0",reason="x"} 9.0
vllm:num_requests_running{engine="10",model_name="m"} 4.0
vllm:num_requests_running{engine="0",model_name="m {a}"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 3.0
process_start_time_seconds 1.79547589141e+09
broken{engine="0"} many
last{engine="0"} NaN"""


def test_finds_the_value_of_a_rank() -> None:
    """Not of a metric whose name is longer, and not of rank 10 for rank 1."""
    name = b"vllm:num_requests_running"

    assert [value(PAGE, name, rank) for rank in (0, 1, 2, 10)] == [2.0, 3.0, None, 4.0]


def test_a_metric_without_rank_is_for_all() -> None:
    """Process metrics have no labels."""
    assert value(PAGE, b"process_start_time_seconds", 3) == 1795475891.41


def test_absent_and_unreadable_values_are_none() -> None:
    """No exception for what an engine may get wrong."""
    assert value(PAGE, b"absent", 0) is None
    assert value(PAGE, b"broken", 0) is None
    assert value(b"", b"absent", 0) is None


def test_reads_labels() -> None:
    """Escapes do not end a value."""
    line = b'x{a="1",block_size="32",list="[\\"q\\"]"} 1.0'

    assert labels(line) == {"a": "1", "block_size": "32", "list": '[\\"q\\"]'}
    assert find_line(PAGE, b"last", 0) == b'last{engine="0"} NaN'
