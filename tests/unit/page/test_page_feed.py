"""The feed runs what is looked at and nothing else; a slow reader loses the oldest, and gets the whole anew."""

import asyncio
import json
from collections.abc import Sequence
from typing import cast

from tests.support.agents.until import until
from three_mode.agents.wire.watching import WatchOrder, WatchReport
from three_mode.errors import ModeUnavailable
from three_mode.page.feed import Feed
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem
from three_mode.page.views.flows import FlowsView, new_flows


class Counting:
    """A view that says how often it was told."""

    name, every = "count", 0.01

    def __init__(self) -> None:
        self.told, self.ends, self.fails = 0, 0, False

    async def tell(self, readers: Sequence[PageReader]) -> None:
        if self.fails:
            raise ModeUnavailable("gone")
        self.told += 1
        for reader in readers:
            reader.put(b'{"kind": "count"}')

    def left(self) -> None:
        self.ends += 1


async def test_a_view_runs_while_somebody_looks_and_ends_then() -> None:
    view = Counting()
    feed = Feed([view])
    first, second = feed.open(), feed.open()
    assert first is not None
    assert second is not None
    await asyncio.sleep(0.05)
    assert (view.told, feed.running) == (0, []), "a page that is open costs nothing before it looks"
    feed.look(first, ["count", "no such view"])
    feed.look(second, ["count"])
    assert await first.get() == b'{"kind": "count"}'
    feed.close(first)
    assert feed.running == ["count"]
    feed.close(second)
    assert (feed.running, view.ends) == ([], 1)
    told = view.told
    await asyncio.sleep(0.05)
    assert view.told == told


async def test_one_that_looks_elsewhere_ends_it_too() -> None:
    view = Counting()
    feed = Feed([view])
    reader = feed.open()
    assert reader is not None
    feed.look(reader, ["count"])
    await reader.get()
    feed.look(reader, [])
    await until(lambda: not feed.running)
    assert view.ends == 1


async def test_a_problem_is_told_once_until_it_is_over() -> None:
    view = Counting()
    view.fails = True
    feed = Feed([view])
    reader = feed.open()
    assert reader is not None
    feed.look(reader, ["count"])
    assert json.loads(await reader.get() or b"") == {"kind": "problem", "view": "count", "why": "gone"}
    await asyncio.sleep(0.2)
    view.fails = False
    assert await reader.get() == b'{"kind": "count"}'
    assert json.loads(await reader.get() or b"") == {"kind": "problem", "view": "count", "why": ""}
    feed.close(reader)


async def test_a_reader_that_does_not_read_loses_the_oldest_and_all_that_it_knew() -> None:
    reader = PageReader(waiting=3)
    reader.has["map"] = 7
    for number in range(5):
        reader.put(b"%d" % number)
    assert reader.lost == 2
    assert reader.has == {}
    assert json.loads(await reader.get() or b"") == {"kind": "gap", "count": 2}
    assert [await reader.get() for _ in range(3)] == [b"2", b"3", b"4"]


def test_flows_are_what_is_new_also_of_hosts_that_began_anew() -> None:
    before = {"a": WatchReport("a", 1.0, (("x", "y", 5),)), "b": WatchReport("b", 1.0, (("x", "y", 5),))}
    now = [WatchReport("a", 1.0, (("x", "y", 8), ("y", "x", 1))), WatchReport("b", 2.0, (("x", "y", 2),))]
    assert new_flows(before, now) == {("x", "y"): 3 + 2, ("y", "x"): 1}


async def test_a_host_that_was_silent_for_a_while_brings_no_flood_of_messages() -> None:
    reports = [[WatchReport("a", 1.0, (("x", "y", 1000),))], [], [WatchReport("a", 1.0, (("x", "y", 1003),))]]

    class System:
        async def watch(self, order: WatchOrder) -> list[WatchReport]:
            return reports.pop(0)

    view, reader = FlowsView(cast("WatchedSystem", System())), PageReader()
    for _ in range(3):
        await view.tell([reader])
    told = [json.loads(await reader.get() or b"")["flows"] for _ in range(3)]
    assert told == [[], [], [["x", "y", 3]]]
