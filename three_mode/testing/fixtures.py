"""Fixtures of pytest, for `conftest.py`: `pytest_plugins = ["three_mode.testing.fixtures"]`.

    @pytest.mark.world(hosts=3, faults=WorldFaults())
    def test_all_answer(world):
        world.run(main)

`pytest --world-seeds 200` runs each such test with 200 seeds, `--world-seed 7` from seed 7 on.
"""

from collections.abc import Iterator

import pytest

from three_mode.background_loop import BackgroundLoop
from three_mode.testing.provider import ScriptedProvider
from three_mode.testing.world import World


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of worlds."""
    group = parser.getgroup("three-mode")
    group.addoption("--world-seed", type=int, default=0, help="seed of the first world of each test")
    group.addoption("--world-seeds", type=int, default=1, help="worlds that each test with one is run in")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker of worlds."""
    config.addinivalue_line("markers", "world(**options): what `World` is made with for the fixture `world`")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a world once for each seed."""
    if "world" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("--world-seed"), metafunc.config.getoption("--world-seeds")
        metafunc.parametrize("world", range(first, first + count), indirect=True, ids=lambda seed: f"seed-{seed}")


@pytest.fixture
def world(request: pytest.FixtureRequest) -> World:
    """A world with the seed of this run, and what the marker `world` says."""
    marker = request.node.get_closest_marker("world")
    return World(request.param, **(marker.kwargs if marker is not None else {}))


@pytest.fixture
def scripted_provider() -> Iterator[ScriptedProvider]:
    """A model provider on a real socket, at `scripted_provider.url`; it runs in a thread of its own, so that tests of
    all kinds can call it."""
    provider, loop = ScriptedProvider("http/1.1"), BackgroundLoop()
    loop.run(provider.__aenter__())
    try:
        yield provider
    finally:
        loop.run(provider.__aexit__(None, None, None))
