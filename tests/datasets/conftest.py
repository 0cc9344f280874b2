from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def require(present, what):
    """Skip without ``what``, or fail where LANDSCAPE_REQUIRE_DATA=1 promises that it is there."""
    if present:
        return
    if os.environ.get("LANDSCAPE_REQUIRE_DATA") == "1":
        pytest.fail(f"LANDSCAPE_REQUIRE_DATA=1, but {what}.")
    pytest.skip(f"{what}; set LANDSCAPE_REQUIRE_DATA=1 to make this a failure.")


@pytest.fixture(autouse=True)
def _no_data_folder_of_the_user(monkeypatch):
    monkeypatch.delenv("LANDSCAPE_DATA", raising=False)


@pytest.fixture(scope="session")
def fashion_mnist_folder():
    require(FASHION_MNIST.is_dir(), "the Debian package dataset-fashion-mnist is not installed")
    return FASHION_MNIST


@pytest.fixture(scope="session")
def mlxtend_installed():
    require(importlib.util.find_spec("mlxtend") is not None, "the package mlxtend is not installed")
