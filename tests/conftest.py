"""One torch thread per test process: two workers on two cores must not fight, and sums must not depend on it."""

from __future__ import annotations

import os

# Before torch is imported anywhere, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import HealthCheck, settings

# Machines differ in speed and are shared: time is not what these tests are about. CI repeats the same examples.
settings.register_profile(
    "landscape", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("landscape")


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """The randomness of a test, of its own."""
    return torch.Generator().manual_seed(0)
