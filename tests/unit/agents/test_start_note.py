"""The page that says which agent is being made, read by another process than the one that writes it."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from three_mode.agents.host.start_note import RunningStart, StartNote, new_file
from three_mode.agents.runtime.startup import Noted


@pytest.fixture
def sides() -> Iterator[tuple[StartNote, StartNote]]:
    fd = new_file()
    writer, reader = StartNote(fd), StartNote(fd)
    os.close(fd)
    yield writer, reader
    writer.close()
    reader.close()


def test_the_other_side_reads_the_start_that_runs(sides: tuple[StartNote, StartNote]) -> None:
    writer, reader = sides
    assert reader.read() is None
    writer.begin("scout/7", "__init__")
    assert reader.read() == RunningStart("scout/7", "__init__")
    assert str(reader.read()) == "scout/7.__init__"
    writer.end()
    assert reader.read() is None


def test_a_name_that_is_longer_than_the_page_is_cut(sides: tuple[StartNote, StartNote]) -> None:
    writer, reader = sides
    writer.begin("ü" * 5000, "started")
    start = reader.read()
    assert start is not None
    assert start.agent.startswith("ü" * 1000)


async def test_a_hook_is_noted_while_its_code_runs_and_not_while_it_waits(sides: tuple[StartNote, StartNote]) -> None:
    writer, reader = sides
    seen: list[RunningStart | None] = []
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def started() -> str:
        seen.append(reader.read())
        try:
            await waiting
        except asyncio.CancelledError:
            seen.append(reader.read())
        return "done"

    task = asyncio.ensure_future(_awaited(Noted(started(), writer, "scout/0", "started")))
    await asyncio.sleep(0)
    assert reader.read() is None
    task.cancel()
    assert await task == "done"
    assert seen == [RunningStart("scout/0", "started")] * 2
    assert reader.read() is None


async def _awaited(work: Noted) -> str:
    result: str = await work
    return result
