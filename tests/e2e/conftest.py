"""Fleets of real processes for all end-to-end tests: two pods and every service.

One has vLLM pods, the other emulated ones; each is started when a test first asks for it. The tests
of `fleet` run on both: nothing may tell one kind from the other.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from farsight.local.fleet import Fleet, FleetSpec
from farsight.local.programs import model_dir
from farsight.local.ready import State

# Two cores carry the pods, the services and the clients: budgets are wide.
FLAGS = {
    "router": ("--index-budget-ms", "500", "--predictor-budget-ms", "500"),
    "trainer": (
        *("--min-samples", "60"),
        *("--refit-samples", "60"),
        *("--refit-interval-s", "5"),
    ),
}


def progress(name: str, state: State, seconds: float) -> None:
    """Says what has started; shown when a test fails."""
    if state is not State.STARTING:
        print(f"{name} {state.value} after {seconds:.1f} s")  # noqa: T201


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two vLLM pods with small caches, two routers, one of everything else."""
    spec = FleetSpec(
        engines=2, model=model_dir("tiny"), kv_blocks=120, max_model_tokens=2048, flags=FLAGS
    )
    async with Fleet(spec, tmp_path_factory.mktemp("fleet"), progress) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def emulated_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The same with emulated pods."""
    spec = FleetSpec(engines=2, pods="emulated", kv_blocks=120, max_model_tokens=2048, flags=FLAGS)
    async with Fleet(spec, tmp_path_factory.mktemp("fleet"), progress) as running:
        yield running


@pytest.fixture(params=["vllm", "emulated"])
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """Each of the two."""
    found = request.getfixturevalue(f"{request.param}_fleet")
    assert isinstance(found, Fleet)
    return found
