"""A streamed reply out of batches: a batch with nothing in it is not the end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from three_mode.channels.replies import open_batches
from three_mode.errors import DeadlineExceeded
from three_mode.messages import Chunk, Finish, Start, TextDelta, ToolDelta

CALL = ToolDelta(0, "call_0", "weather", "{}")


async def batches(*made: list[Chunk]) -> AsyncIterator[list[Chunk]]:
    for batch in made:
        yield batch


async def read(*made: list[Chunk]) -> list[Chunk]:
    reply = await open_batches(batches(*made), lambda: None, asyncio.get_running_loop().time() + 5, "m")
    found: list[Chunk] = []
    while batch := await reply.more():
        found += batch
    assert await reply.more() == [], "the end stays the end"
    return found


async def test_text_that_was_held_back_is_not_the_end() -> None:
    made: list[list[Chunk]] = [[Start()], [], [], [CALL], [], [Finish("tool_calls")]]
    assert await read(*made) == [Start(), CALL, Finish("tool_calls")]
    assert await read([], [TextDelta("a")], [], [TextDelta("b")]) == [TextDelta("a"), TextDelta("b")]
    assert await read([Start()], []) == [Start()]


async def test_the_first_content_is_waited_for_no_longer_than_it_may_take() -> None:
    left: list[bool] = []

    async def silent() -> AsyncIterator[list[Chunk]]:
        while True:
            await asyncio.sleep(0.001)
            yield []

    with pytest.raises(DeadlineExceeded, match="no content came"):
        await open_batches(silent(), lambda: left.append(True), asyncio.get_running_loop().time() + 0.02, "m")
    assert left == [True]
