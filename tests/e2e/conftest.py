"""One fleet of real processes for all end-to-end tests: two vLLM pods and every service."""

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two pods with small caches, two routers, one of everything else."""

    def progress(name: str, state: State, seconds: float) -> None:
        if state is not State.STARTING:
            print(f"{name} {state.value} after {seconds:.1f} s")  # noqa: T201 # shown on failure

    spec = FleetSpec(
        engines=2, model=model_dir("tiny"), kv_blocks=120, max_model_tokens=2048, flags=FLAGS
    )
    async with Fleet(spec, tmp_path_factory.mktemp("fleet"), progress) as running:
        yield running
