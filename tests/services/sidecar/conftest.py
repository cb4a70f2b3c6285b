"""The kernels of the mirror are compiled before the first test that runs."""

from pathlib import Path

import pytest

from services.sidecar.warm import warm

HERE = Path(__file__).parent


def pytest_collection_finish(session: pytest.Session) -> None:
    """No test's time runs yet; every worker of a parallel run compiles, or loads, for itself."""
    if any(item.path.is_relative_to(HERE) for item in session.items):
        warm()
