"""Tools of a bus: handlers that say `@handler(tool=True)`, as the hosts of its agents describe them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import HOST, ROLE, ToolReport
from three_mode.errors import ThreeModeError
from three_mode.mcp.offered import OfferedTool, TellProgress, ToolAnswer, UnknownTool
from three_mode.serve.faults import in_words
from three_mode.serve.surfaces.mcp.content import answer_of
from three_mode.tools.callable_tool import LONGEST_NAME, fitting_letters
from three_mode.tools.function import gathered
from transports.bus import Bus, NamesChanged

log = logging.getLogger("three_mode.serve")
ASKED_WITHIN = 2.0  # seconds that a host has to say what its agents offer
KEPT = 5.0  # seconds for which the list is not asked for again; a new class of an agent changes no name on the bus
LOST = 30.0  # seconds for which the tools of a host that has left are kept: it may be starting again
SETTLED = 0.2  # seconds after a change on the bus until the list is read again: many agents start at once
MOST_SAID = 500  # characters of a part that a client is told of
_reports = decoder_for(list[ToolReport])


@runtime_checkable
class VerbsOnBus(Protocol):
    """The verbs of a bus, and the bus: `BusVerbs`, an orchestrator, and a program that joined have both."""

    @property
    def bus(self) -> Bus: ...

    def any(self, role: str) -> Any: ...


class BusTool(Struct, frozen=True):
    """A tool, and whose handler it is."""

    offered: OfferedTool
    group: str
    handler: str


class BusTools:
    """Source of the tools of one bus. A call goes to the agent of the group with the least to do.

    The name of a tool is `GROUP_HANDLER`. Two that would have one name are not offered, since a client could not say
    which it means.
    """

    def __init__(self, verbs: VerbsOnBus) -> None:
        self._verbs, self._bus = verbs, verbs.bus
        self._known: dict[str, BusTool] = {}
        self._by_host: dict[str, list[ToolReport]] = {}
        self._seen_at: dict[str, float] = {}  # host -> when it was last on the bus
        self._read_at = -KEPT
        self._reading: asyncio.Task[None] | None = None
        self._watchers: set[Callable[[], None]] = set()
        self._settling: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._warned: set[str] = set()
        self._watch = self._bus.watch(self._changed)

    def close(self) -> None:
        """Stops watching the bus, which stays joined."""
        self._watch.close()
        if self._settling is not None:
            self._settling.cancel()
        for task in (self._reading, self._looking):
            if task is not None:
                task.cancel()

    async def tools(self) -> Sequence[OfferedTool]:
        if time.monotonic() - self._read_at >= KEPT:
            await self._read()
        return [tool.offered for tool in self._known.values()]

    async def call(
        self, name: str, arguments: dict[str, Any], within: float, progress: TellProgress | None = None
    ) -> ToolAnswer:
        tool = self._known.get(name)
        if tool is None:
            await self.tools()
            tool = self._known.get(name)
            if tool is None:
                raise UnknownTool(name)
        if "within" in arguments:  # a keyword of every verb, and of no handler
            return ToolAnswer.failed(f"{name} has no argument 'within'")
        missing = [each for each in tool.offered.schema.get("required", ()) if each not in arguments]
        if missing:
            return ToolAnswer.failed(f"{name}: the argument {missing[0]!r} is missing")
        agent = self._verbs.any(tool.group)
        try:
            if not tool.offered.streams:
                return answer_of(await agent.ask(tool.handler, within=within, **arguments))
            async with agent.stream(tool.handler, within=within, **arguments) as parts:
                return answer_of(await gathered(parts if progress is None else _told(parts, progress)))
        except ThreeModeError as error:
            return ToolAnswer.failed(f"{type(error).__name__}: {in_words(error)}")

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        def tell() -> None:
            changed()

        self._watchers.add(tell)
        return lambda: self._watchers.discard(tell)

    def _changed(self, change: Any) -> None:
        """Names came or went. All that agents offer may be another thing now."""
        if not isinstance(change, NamesChanged) or not any(
            name.startswith((ROLE, HOST)) for name in (*change.added, *change.removed)
        ):
            return
        self._read_at = -KEPT
        if self._watchers and self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLED, self._look)

    def _look(self) -> None:
        self._settling = None
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look_again())

    async def _look_again(self) -> None:
        before = dict(self._known)
        await self.tools()
        if self._known != before:
            for tell in list(self._watchers):
                tell()

    async def _read(self) -> None:
        """Asks all hosts; who asks meanwhile waits for the same answers."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._ask_hosts())
        await asyncio.shield(self._reading)

    async def _ask_hosts(self) -> None:
        began = time.monotonic()
        hosts = [name for name in self._bus.names() if name.startswith(HOST)]
        self._seen_at |= dict.fromkeys(hosts, began)
        for host, seen in list(self._seen_at.items()):
            if began - seen > LOST:
                del self._seen_at[host]
                self._by_host.pop(host, None)
        for host, answer in (await host_answers(self._bus, hosts, "tools", _reports, ASKED_WITHIN)).items():
            if isinstance(answer, Exception):  # what it said before still holds
                self._warn(f"{host} did not say which tools its agents have: {answer}")
            else:
                self._by_host[host] = answer
        self._known = self._named(report for reports in self._by_host.values() for report in reports)
        self._read_at = began

    def _named(self, reports: Iterable[ToolReport]) -> dict[str, BusTool]:
        """The tools by their names, in order."""
        found: dict[str, BusTool] = {}
        double: set[str] = set()
        for report in sorted(reports, key=lambda each: (each.group, each.handler)):
            name = fitting_letters(f"{report.group}_{report.handler}")
            known = found.get(name)
            if report.problem:
                self._warn(f"{report.group}.{report.handler} is no tool: {report.problem}")
            elif len(name) > LONGEST_NAME:
                self._warn(f"{report.group}.{report.handler} is no tool: a name has at most {LONGEST_NAME} characters")
            elif known is None:
                offered = OfferedTool(name, report.description, report.schema, report.streams)
                found[name] = BusTool(offered, report.group, report.handler)
            elif (known.group, known.handler) != (report.group, report.handler):
                double.add(name)
        for name in double:
            del found[name]
            self._warn(f"no tool is called {name!r}: two handlers would have the name; give a group another")
        return found

    def _warn(self, words: str) -> None:
        """Says it once."""
        if words not in self._warned and len(self._warned) < 1000:
            self._warned.add(words)
            log.warning("%s", words)


async def _told(parts: AsyncIterator[Any], progress: TellProgress) -> AsyncIterator[Any]:
    count = 0
    async for part in parts:
        count += 1
        await progress(count, part[:MOST_SAID] if isinstance(part, str) else "")
        yield part
