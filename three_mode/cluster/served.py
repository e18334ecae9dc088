"""Calls of other nodes that are served here: asks, tells, streams and gathers, put to this node's own agents."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from importlib import import_module

import msgspec

from three_mode.agents.calling.gather import decode_part
from three_mode.agents.calling.node_tables import TABLE, letter_pages, pages
from three_mode.agents.calling.roles import Roles
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import EVENTS, LETTERS, ORCHESTRATOR, GatherOrder, Table
from three_mode.cluster.core.calling import NO_SUCH_NAME
from three_mode.cluster.core.frames import AskFrame, TellFrame
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import ORDER
from three_mode.cluster.core.shown import ROLE
from three_mode.cluster.failures import failure
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.messages import encode_error
from transports.bus import BusError, Call, Encoded, Message

log = logging.getLogger("three_mode.cluster")
_order = decoder_for(GatherOrder)
_whole_table = decoder_for(Table)
_all_letters = decoder_for(list[DeadLetter])
_HOSTS_SHARE = 0.6  # of the time for a table, in which hosts have to answer
_BUSY = 0.005  # seconds until it is looked again whether a large part may be sent

Key = tuple[str, int]


class ServedStream:
    """A stream for another node: its task, and how many parts may still be sent."""

    __slots__ = ("_more", "granted", "task")

    def __init__(self, granted: int) -> None:
        self.granted = granted
        self._more = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def grant(self, count: int) -> None:
        """Let so many more parts be sent."""
        self.granted += count
        self._more.set()

    async def room(self) -> None:
        """Wait until a part may be sent."""
        while self.granted <= 0:
            self._more.clear()
            await self._more.wait()
        self.granted -= 1


class Served:
    """The calls of other nodes. `session` is that of the gateway's own member, `roles` are those of this node,
    `hosts()` its hosts by their members; `flush` carries out actions, `order` takes orders to this node itself, and
    `dead_letter` a message that no agent has taken."""

    def __init__(
        self,
        core: ClusterNode,
        session: Session,
        roles: Roles,
        hosts: Callable[[], dict[str, str]],
        flush: Callable[[], None],
        order: Callable[[str, AskFrame], None],
        dead_letter: Callable[[str, str, str, str, str, bytes], None],
    ) -> None:
        self._core, self._session, self._roles, self._hosts = core, session, roles, hosts
        self._order, self._flush, self._dead_letter = order, flush, dead_letter
        self._calls: dict[Key, Call] = {}
        self._streams: dict[Key, ServedStream] = {}

    # tells and asks ---------------------------------------------------------------------------------------------------
    def tell(self, node: str, frame: TellFrame) -> None:
        """Give a message to its agent."""
        to = frame.to
        try:
            if to.startswith(ROLE):
                to = self._roles.take(to.removeprefix(ROLE))
                self._roles.give_back(to)
            self._session.bus.send(to, Encoded(frame.payload), frame.topic, frame.trace, frame.sender)
        except (BusError, ThreeModeError) as error:
            self._dead_letter(
                to, frame.topic, frame.sender, getattr(error, "code", "no_such_agent"), str(error), frame.payload
            )

    def begin(self, node: str, frame: AskFrame) -> None:
        """Begin with a call."""
        key = node, frame.id
        if not frame.to and frame.topic == ORDER and not frame.credit:
            self._order(node, frame)
        elif not frame.to:
            orders = {"gather": self._gather, TABLE: self._table, LETTERS: self._letters, EVENTS: self._events}
            ordered = orders.get(frame.topic)
            if ordered is None or not frame.credit:
                self._core.fail(time.monotonic(), *key, NO_SUCH_NAME, f"a node takes no order {frame.topic!r}")
                return
            self._start(key, frame, ordered(frame))
        elif frame.credit:
            self._start(key, frame, self._parts(frame))
        else:
            self._ask(key, frame)

    def _ask(self, key: Key, frame: AskFrame) -> None:
        to = frame.to
        try:
            if to.startswith(ROLE):
                to = self._roles.take(to.removeprefix(ROLE))

            def done(result: Message | BusError) -> None:
                self._calls.pop(key, None)
                self._roles.give_back(to)
                self._answer(key, frame, result)
                self._flush()

            self._calls[key] = self._session.bus.call(
                to, Encoded(frame.payload), done, frame.topic, frame.within, frame.trace, frame.sender
            )
        except BusError as error:
            self._roles.give_back(to)
            self._core.fail(time.monotonic(), *key, *failure(self._session, error, frame.to, frame.topic))
        except ThreeModeError as error:  # no agent has the role
            self._core.fail(time.monotonic(), *key, *wire_errors.to_wire(error))

    def _answer(self, key: Key, frame: AskFrame, result: Message | BusError) -> None:
        now = time.monotonic()
        if isinstance(result, BusError):
            self._core.fail(now, *key, *failure(self._session, result, frame.to, frame.topic))
        else:
            self._core.answer(now, *key, result.raw)

    # streams ----------------------------------------------------------------------------------------------------------
    def _start(self, key: Key, frame: AskFrame, parts: AsyncIterator[bytes]) -> None:
        stream = self._streams[key] = ServedStream(frame.credit)
        stream.task = asyncio.get_running_loop().create_task(self._run(key, frame, stream, parts))

    async def _run(self, key: Key, frame: AskFrame, stream: ServedStream, parts: AsyncIterator[bytes]) -> None:
        core = self._core
        try:
            async for part in parts:
                await stream.room()
                while core.large.busy(key[0], len(part)):  # noqa: ASYNC110  # the core, which has no I/O, tells nobody
                    await asyncio.sleep(_BUSY)
                core.part(time.monotonic(), *key, part)
                self._flush()
            core.end(time.monotonic(), *key)
        except BusError as error:
            core.fail(time.monotonic(), *key, *failure(self._session, error, frame.to, frame.topic))
        except ThreeModeError as error:
            core.fail(time.monotonic(), *key, *wire_errors.to_wire(error))
        finally:
            self._streams.pop(key, None)
            await parts.aclose()  # type: ignore[attr-defined]  # a generator: leaving it cancels the agent's work
            self._flush()

    async def _parts(self, frame: AskFrame) -> AsyncIterator[bytes]:
        """Ask an agent for its stream."""
        role, to = frame.to.startswith(ROLE), frame.to
        if role:
            to = self._roles.take(to.removeprefix(ROLE))
        try:
            async for part in self._parts_of(to, frame):
                yield part
        finally:
            if role:
                self._roles.give_back(to)

    async def _parts_of(self, to: str, frame: AskFrame) -> AsyncIterator[bytes]:
        async with self._session.bus.stream(
            to,
            Encoded(frame.payload),
            topic=frame.topic,
            within=frame.within,
            credit=min(frame.credit, 1024),
            trace=frame.trace,
            sender=frame.sender,
        ) as parts:
            async for part in parts:
                yield part.raw

    async def _gather(self, frame: AskFrame) -> AsyncIterator[bytes]:
        """Ask the agents of a gather, one question for each host; answers keep their places in the whole order."""
        order: GatherOrder = _order(frame.payload)
        owners, hosts = self._session.bus.names(), self._hosts()
        by_host: dict[str, list[int]] = {}
        unknown = []
        for place, name in enumerate(order.names):
            host = hosts.get(owners.get(name, ""))
            if host is None:
                error = NoSuchAgent(f"no agent {name!r} is on the bus any more", agent=name, handler=order.handler)
                unknown.append((place, False, encode_error(error)))
            else:
                by_host.setdefault(host, []).append(place)
        if unknown:
            yield encode(unknown)
        answers: asyncio.Queue[bytes | None] = asyncio.Queue(frame.credit)
        tasks = [
            asyncio.create_task(self._gather_at(host, places, order, frame, answers))
            for host, places in by_host.items()
        ]
        try:
            left = len(tasks)
            while left:
                part = await answers.get()
                if part is None:
                    left -= 1
                else:
                    yield part
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _gather_at(
        self,
        host: str,
        places: list[int],
        order: GatherOrder,
        frame: AskFrame,
        answers: "asyncio.Queue[bytes | None]",
    ) -> None:
        names, open_ = tuple(order.names[place] for place in places), dict.fromkeys(places)
        try:
            async with self._session.bus.stream(
                host,
                Encoded(encode(GatherOrder(names, order.handler, order.call))),
                topic="gather",
                within=frame.within,
                trace=frame.trace,
                sender=frame.sender,
            ) as parts:
                async for part in parts:
                    found = [(places[index], good, content) for index, good, content in decode_part(part.raw)]
                    for place, _, _ in found:
                        open_.pop(place, None)
                    await answers.put(encode([(place, good, msgspec.Raw(raw)) for place, good, raw in found]))
        except BusError as error:
            failed = [
                (place, False, encode_error(self._session.error(error, order.names[place], order.handler)))
                for place in open_
            ]
            await answers.put(encode(failed))
        await answers.put(None)

    async def _table(self, frame: AskFrame) -> AsyncIterator[bytes]:
        """Ask this node's orchestrator for its hosts and agents."""
        table = _whole_table(await self._ask_orchestrator("table_here", frame))
        for page in pages(table, import_module("three_mode").__version__):
            yield page

    async def _letters(self, frame: AskFrame) -> AsyncIterator[bytes]:
        """Ask this node's orchestrator for its dead letters."""
        for page in letter_pages(_all_letters(await self._ask_orchestrator("dead_letters_here", frame))):
            yield page

    async def _ask_orchestrator(self, order: str, frame: AskFrame) -> bytes:
        hosts = encode(_HOSTS_SHARE * frame.within)
        reply = await self._session.bus.ask(ORCHESTRATOR, Encoded(hosts), topic=order, within=frame.within)
        return reply.raw

    def _events(self, frame: AskFrame) -> AsyncIterator[bytes]:
        """Have this node's orchestrator send its events."""
        return self._parts_of(ORCHESTRATOR, frame)

    # their end --------------------------------------------------------------------------------------------------------
    def cancel(self, node: str, id_: int) -> None:
        """Cancel a call: its caller waits no longer."""
        key = node, id_
        call, stream = self._calls.pop(key, None), self._streams.get(key)
        if call is not None:
            call.cancel()
            self._roles.give_back(call.to)
        if stream is not None and stream.task is not None:
            stream.task.cancel()

    def grant(self, node: str, id_: int, count: int) -> None:
        """Let a stream send more parts."""
        stream = self._streams.get((node, id_))
        if stream is not None:
            stream.grant(count)

    async def close(self) -> None:
        """Cancel all."""
        for key in list(self._calls):
            self.cancel(*key)
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
