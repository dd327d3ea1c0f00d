"""Fixtures for all tests."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of reference outputs and real images beside the project; the test skips where it is absent."""
    shared = PROJECT.parent / "shared"
    if not (shared / "fixtures").is_dir():
        pytest.skip("needs ../shared (reference outputs and real images), which is not part of the project")
    return shared


@pytest.fixture
def project_dir() -> Path:
    """The checkout."""
    return PROJECT
