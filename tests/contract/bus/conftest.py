"""One suite for every carrier of the bus: each test of this folder runs on all of them."""

from collections.abc import AsyncIterator

import pytest

from tests.support.bus.members import Members, members

CARRIERS = ["rings", "zmq"]


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def group(carrier: str) -> AsyncIterator[Members]:
    async with members(carrier=carrier) as group:
        yield group
