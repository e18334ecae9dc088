"""One browser for all tests of a module."""

from collections.abc import Iterator

import pytest

from tests.support.serve.browser import chromium
from tests.support.serve.devtools import Chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if chromium() is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with Chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found
