"""A page served for the tests of a file, and a client of it."""

import pytest

from tests.unit.web.server import served


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with served(tmp_path_factory.mktemp("uploads")) as one:
        yield one


@pytest.fixture
def http(page):
    httpx = pytest.importorskip("httpx", reason="comes with gradio")
    with httpx.Client(base_url=page.url, timeout=30) as client:
        yield client
