"""Sharing streams, alone: any readers of one call read the same, none holds up another, and what is kept is bounded."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.providers.clock import settle
from three_mode import errors
from three_mode.policies import SharedStreams

Streams = SharedStreams[str, "Source"]


class Source:
    """Gives what the test puts in; knows how it was used."""

    def __init__(self, *pieces: str) -> None:
        self.queue: asyncio.Queue[list[str] | Exception] = asyncio.Queue()
        for piece in pieces:
            self.queue.put_nowait([piece])
        self.asked = 0
        self.closed = False

    async def more(self) -> list[str]:
        self.asked += 1
        found = await self.queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.closed = True

    async def opened(self) -> "Source":
        return self


async def read(reader: object) -> str:
    text = ""
    while batch := await reader.more():  # type: ignore[attr-defined]
        text += "".join(batch)
    return text


async def test_a_follower_gets_what_came_and_then_follows() -> None:
    streams, source = Streams(1000, len), Source("a", "b")
    first, joined = await streams.open("k", source.opened)
    assert not joined
    assert await first.more() == ["a"]
    assert await first.more() == ["b"]
    second, joined = await streams.open("k", source.opened)
    assert joined
    assert second.source is source
    assert await second.more() == ["a", "b"]
    both = asyncio.gather(first.more(), second.more())
    await settle()
    source.queue.put_nowait(["c"])
    assert await both == [["c"], ["c"]]
    source.queue.put_nowait([])
    assert await asyncio.gather(first.more(), second.more()) == [[], []]
    other, joined = await streams.open("k", Source().opened)
    assert not joined, "it is over: the next one begins anew"
    other.close()
    await settle()


async def test_it_is_read_no_faster_than_the_fastest_reader_asks() -> None:
    streams, source = Streams(1000, len), Source(*"abcdef")
    reader, _ = await streams.open("k", source.opened)
    await settle()
    assert source.asked == 0
    await reader.more()
    await settle()
    assert source.asked == 1
    reader.close()
    await settle()


async def test_a_slow_reader_is_given_up_by_name_and_holds_up_nobody() -> None:
    streams, source = Streams(5, len), Source(*"abcdefghij", "")
    source.queue.put_nowait([])
    fast, _ = await streams.open("k", source.opened)
    slow, _ = await streams.open("k", source.opened)
    assert await slow.more() == ["a"]
    assert await asyncio.wait_for(read(fast), 1) == "abcdefghij"
    with pytest.raises(errors.Overloaded, match="more than 5 bytes behind"):
        await slow.more()
    slow.close()


async def test_nobody_joins_what_has_no_beginning_any_more() -> None:
    streams, source = Streams(3, len), Source(*"abcdef")
    first, _ = await streams.open("k", source.opened)
    for _ in range(5):
        await first.more()
    late, joined = await streams.open("k", Source("new").opened)
    assert not joined
    assert await late.more() == ["new"]
    for reader in (first, late):
        reader.close()
    await settle()


async def test_the_last_to_leave_ends_it_and_one_that_leaves_before_does_not() -> None:
    streams, source = Streams(1000, len), Source("a")
    first, _ = await streams.open("k", source.opened)
    second, _ = await streams.open("k", source.opened)
    first.close()
    assert await second.more() == ["a"]
    waiting = asyncio.ensure_future(second.more())
    await settle()
    assert not source.closed
    waiting.cancel()
    second.close()
    assert source.closed, "it ends at once"
    await settle()
    assert len(asyncio.all_tasks()) == 1


async def test_cancelling_all_who_wait_for_it_to_open_cancels_that() -> None:
    ended: list[str] = []

    async def never() -> Source:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return Source()

    streams = Streams(1000, len)
    tasks = [asyncio.ensure_future(streams.open("k", never)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert ended == []
    tasks[1].cancel()
    await settle()
    assert ended == ["cancelled"]
    assert len(asyncio.all_tasks()) == 1


async def test_an_error_is_everybodys_after_what_came_before_it() -> None:
    streams, source = Streams(1000, len), Source("a")
    source.queue.put_nowait(errors.ServerError("x"))
    readers = [(await streams.open("k", source.opened))[0] for _ in range(2)]
    for reader in readers:
        assert await reader.more() == ["a"]
    assert [type(each) for each in await asyncio.gather(*(r.more() for r in readers), return_exceptions=True)] == [
        errors.ServerError
    ] * 2

    async def fails() -> Source:
        raise errors.RateLimit("y")

    outcomes = await asyncio.gather(*(streams.open("k", fails) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in outcomes] == [errors.RateLimit] * 2


async def test_each_reader_has_a_deadline_of_its_own() -> None:
    streams, source = Streams(1000, len), Source("a")
    now = asyncio.get_running_loop().time()
    patient, _ = await streams.open("k", source.opened, now + 60)
    hasty, _ = await streams.open("k", source.opened, now + 0.05)
    assert await hasty.more() == ["a"]
    with pytest.raises(errors.DeadlineExceeded):
        await hasty.more()
    hasty.close()
    source.queue.put_nowait(["b"])
    assert await patient.more() == ["a"]
    assert await patient.more() == ["b"]
    patient.close()
    await settle()


async def test_who_has_more_time_than_the_one_who_began_begins_anew() -> None:
    streams, source = Streams(1000, len), Source("a")

    async def late() -> Source:
        await asyncio.sleep(0.02)
        raise errors.DeadlineExceeded("the first one had no more time")

    first = asyncio.ensure_future(streams.open("k", late))
    await settle()
    reader, joined = await streams.open("k", source.opened, asyncio.get_running_loop().time() + 60)
    assert not joined
    assert await reader.more() == ["a"]
    with pytest.raises(errors.DeadlineExceeded):
        await first
    reader.close()
    await settle()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("ab", min_size=1, max_size=5), max_size=12), st.data())
def test_whoever_reads_reads_all_of_it_or_is_told(pieces: list[str], data: st.DataObject) -> None:
    """Readers that join and read in any order: each gets the whole text, or the error of one that fell behind."""

    async def run() -> None:
        most = data.draw(st.integers(1, 40))
        streams, source = Streams(most, len), Source(*pieces)
        source.queue.put_nowait([])
        readers = [(await streams.open("k", source.opened))[0]]
        got = [""]
        over: set[int] = set()
        while len(over) < len(readers):
            who = data.draw(st.sampled_from([i for i in range(len(readers)) if i not in over]))
            try:
                batch = await asyncio.wait_for(readers[who].more(), 1)
            except errors.Overloaded:
                assert "".join(pieces).startswith(got[who])
                over.add(who)
                continue
            got[who] += "".join(batch)
            if not batch:
                assert got[who] == "".join(pieces)
                over.add(who)
            if len(readers) < 3 and data.draw(st.booleans()):
                reader, joined = await streams.open("k", Source("other").opened)
                if joined:
                    readers.append(reader)
                    got.append("")
                else:
                    reader.close()
        for reader in readers:
            reader.close()
        await settle()
        assert source.closed
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
