"""One agent at work: its turn, what waits for it, what it is doing, and a few counters.

The rules: a handler holds the agent's one turn unless it is concurrent; what cannot begin waits in the mailbox, in order;
a full mailbox refuses. A coroutine begins at once and becomes a task only if it has to wait. Nothing here knows sockets:
a request is anything that has the bus's request interface.
"""

import asyncio
import contextvars
import math
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from enum import Enum
from functools import partial
from typing import Any, Protocol

from three_mode.agents.agent import Agent
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.handlers.tracing import traced
from three_mode.agents.runtime.eager import Starter
from three_mode.agents.runtime.histogram import SAMPLE, Histogram
from three_mode.agents.runtime.requests import Incoming, Parts
from three_mode.agents.runtime.tape import Tape
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import BadCall, CallCycle, DeadlineExceeded, Overloaded, PeerLost, ThreeModeError
from three_mode.handling import Call, current, in_chain, split

# What a result that cannot travel raises.
_UNANSWERABLE = (ThreeModeError, TypeError, ValueError, OverflowError, RecursionError)
_BATCH = 64  # messages of one mailbox begun before the loop gets a turn


class State(Enum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


# A member of an enum costs ten times what a global does, and these are asked for at every message.
STARTING, RUNNING, PAUSED, STOPPING, STOPPED = State


class Owner(Protocol):
    """What an actor asks of the population that it belongs to."""

    session: Session
    loop: asyncio.AbstractEventLoop
    starter: Starter
    context: contextvars.Context
    tape: Tape | None
    seed: int

    def caller_of(self, actor: "Actor") -> Caller: ...
    def seed_of(self, name: str) -> int: ...
    def now(self, actor: "Actor") -> float: ...
    def taped(self, actor: "Actor", spec: Spec, request: Incoming) -> Incoming: ...
    def refuse(self, actor: "Actor", spec: Spec, request: Incoming, error: ThreeModeError) -> None: ...
    def handler_failed(self, actor: "Actor", spec: Spec, error: ThreeModeError) -> None: ...
    def ends_itself(self, actor: "Actor") -> None: ...
    def look_for_end(self, actor: "Actor") -> None: ...


class Listeners(Protocol):
    """The actors that hear one pattern with one handler, as one of them sees the whole."""

    def look(self, actor: "Actor") -> None:
        """Notes whether the actor can take a message at once."""
        ...

    def changed(self) -> None: ...
    def remove(self, actor: "Actor") -> None: ...
    def heard(self, actor: "Actor") -> int: ...


class Run(Call, eq=False, weakref=True):
    """The call itself, with what the cell has to know to end it: one object a message, not two."""

    actor: "Actor" = None  # type: ignore[assignment]  # never left out: those of a Call have defaults
    spec: Spec = None  # type: ignore[assignment]
    request: Incoming = None  # type: ignore[assignment]
    started: float = 0.0
    task: "asyncio.Future[None] | None" = None
    cancelled: str = ""
    since: float = 0.0
    """When it first had to wait."""
    parts: Parts | None = None
    """Of a stream, while it runs: the way out."""

    def cancel(self, reason: str) -> None:
        """The caller cancelled, died or ran out of time, or the agent is being stopped."""
        if not self.cancelled:
            self.cancelled = reason or "cancelled"
            tape = self.actor.owner.tape
            if tape is not None:
                tape.ended(self.agent, self.turn, "cancel", self.cancelled.encode())
            if self.task is not None:
                self.task.cancel()

    def flow(self, *given: Any, **named: Any) -> "asyncio.Future[None] | None":
        """A stream whose parts come from elsewhere, if this one's do: what is done when they have gone."""
        assert self.spec.begins is not None
        self.parts = parts = self.request.open_parts()
        try:
            flow: asyncio.Future[None] | None = self.spec.begins(self.actor.agent, parts, *given, **named)
        except Exception as error:  # noqa: BLE001  # it belongs to the caller, as what a coroutine raises
            flow = asyncio.get_running_loop().create_future()
            flow.set_exception(error)
        return flow

    def flowed(self, flow: "asyncio.Future[None]") -> None:
        self.parts = None
        failure = asyncio.CancelledError() if flow.cancelled() else flow.exception()
        self.actor.ended(self, None, failure)

    async def stream(self, parts: AsyncGenerator[Any, None]) -> None:
        """Sends each part when the consumer has room for it; a slow one slows only this."""
        out, self.parts = self.parts or self.request.open_parts(), None
        async with aclosing(parts):
            async for part in parts:
                await out.send(part)


class Actor:
    """One agent with its mailbox, its one turn and its counters."""

    __slots__ = (
        "_caller",
        "_random",
        "_scheduled",
        "agent",
        "errors",
        "fanouts",
        "gaps",
        "group",
        "last_error",
        "latency",
        "messages",
        "name",
        "options",
        "owner",
        "restarts",
        "run",
        "side",
        "specs",
        "state",
        "turn",
        "waiting",
    )

    def __init__(self, name: str, group: str, specs: Mapping[str, Spec], owner: Owner) -> None:
        self.name, self.group, self.specs, self.owner = name, group, specs, owner
        self.agent: Agent = None  # type: ignore[assignment]  # set before anything can reach it
        self.state = STARTING
        self.turn = 0
        self.run: Run | None = None  # what holds the turn and had to wait
        self.side: dict[Spec, set[Run]] | None = None  # concurrent runs that had to wait
        self.waiting: deque[tuple[Spec, Incoming, float]] | None = None
        self.fanouts: tuple[Listeners, ...] = ()
        self.messages = self.errors = self.gaps = self.restarts = 0
        self.options: Any = None  # the order it was made from
        self.last_error = ""
        self.latency: Histogram | None = None
        self._scheduled = False
        self._caller: Caller | None = None
        self._random: random.Random | None = None

    # what the agent itself sees ---------------------------------------------------------------------------------------
    @property
    def caller(self) -> Caller:
        if self._caller is None:
            self._caller = self.owner.caller_of(self)
        return self._caller

    @property
    def random(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(self.owner.seed_of(self.name))
        return self._random

    def now(self) -> float:
        return self.owner.now(self)

    def fresh(self) -> None:
        """A new agent moves in: its chance begins anew."""
        self._random = None

    def end(self) -> None:
        self.owner.ends_itself(self)

    # how much there is to do ------------------------------------------------------------------------------------------
    @property
    def ready(self) -> bool:
        """Whether a message that takes the turn can begin now."""
        return self.run is None and self.state is RUNNING and not self.waiting

    @property
    def stays(self) -> bool:
        """Whether what is sent to it will have its turn."""
        return self.state is not STOPPING and self.state is not STOPPED

    @property
    def load(self) -> int:
        return len(self.waiting or ()) + (self.run is not None) + sum(map(len, (self.side or {}).values()))

    @property
    def runs(self) -> list[Run]:
        """What it is doing that has to wait."""
        runs = [self.run] if self.run else []
        return runs + [run for group in (self.side or {}).values() for run in group]

    # messages ---------------------------------------------------------------------------------------------------------
    def accept(self, spec: Spec, request: Incoming) -> None:
        """Begins or queues one message, or refuses it."""
        if self.state is RUNNING and (
            self.run is None and not self.waiting if spec.takes_turn else not self.side or self.free_for(spec)
        ):
            self.begin(spec, request, 0.0)
        else:
            self._queue(spec, request)

    def free_for(self, spec: Spec) -> bool:
        if self.state is not RUNNING:
            return False
        if spec.takes_turn:
            return self.run is None and not self.waiting
        busy = self.side.get(spec) if self.side else None
        return busy is None or len(busy) < spec.options.concurrent

    def _queue(self, spec: Spec, request: Incoming) -> None:
        if self.state in (STOPPING, STOPPED):
            self.owner.refuse(self, spec, request, self._lost("is stopping"))
            return
        self._look_for_cycle(spec, request)
        if request.answered:
            return
        if self.waiting is None:
            self.waiting = deque()
        limit = self.agent.mailbox
        if len(self.waiting) >= limit:
            busy = f"its mailbox holds {limit} messages"
            self.owner.refuse(
                self,
                spec,
                request,
                Overloaded(f"{self.name}.{spec.name}: {busy}", hint="slow down, or add agents"),
            )
            return
        entry = (spec, request, time.perf_counter())
        self.waiting.append(entry)
        for fanout in self.fanouts:
            fanout.look(self)
        request.on_cancel(lambda _: self._withdraw(entry))
        if self.state is RUNNING:
            self._schedule()

    def _withdraw(self, entry: tuple[Spec, Incoming, float]) -> None:
        """The caller has gone while its message waited."""
        if self.waiting and entry in self.waiting:
            self.waiting.remove(entry)
            self._schedule()

    def _look_for_cycle(self, spec: Spec, request: Incoming) -> None:
        """Whether every run that this message waits for waits, through others, for whoever sent it."""
        _, chain = split(request.trace)
        if not chain:
            return
        blocking = [self.run] if spec.takes_turn and self.run else list((self.side or {}).get(spec, ()))
        if blocking and all(in_chain(chain, self.name, run.turn) for run in blocking):
            way = chain.split(">")
            shown = " -> ".join(link.rpartition(":")[0] for link in way) + f" -> {self.name}"
            error = CallCycle(
                f"{self.name} is busy with a call that waits for this one: {shown}",
                hint="use tell, or make the handler concurrent",
                agent=self.name,
                handler=spec.name,
            )
            self.owner.refuse(self, spec, request, error)

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        self.messages += 1
        started = queued_at or (0.0 if self.messages % SAMPLE else time.perf_counter())
        if request.streams is not spec.streams:
            self.owner.refuse(self, spec, request, self._wrong_verb(spec, request))
            return
        try:
            given, named = request.arguments(self.name, spec)
        except BadCall as error:
            self.errors += 1
            self.owner.refuse(self, spec, request, error)
            return
        home, function, trace = self.owner, spec.function, request.trace
        if home.tape is not None:
            request = home.taped(self, spec, request)
        if home.session.tracer is not None:
            function = traced(home.session.tracer, spec, self.name, trace.partition("|")[0], request.sender)
        self.turn = turn = self.turn + 1
        trace_id, chain = split(trace) if trace else ("", "")
        run = Run(self.name, turn, request.deadline, trace_id, chain, self, spec, request, started)
        if spec.plain and not trace and run.deadline == math.inf and home.tape is None:
            self._call(function, run, given, named)  # there is nothing that its own messages could inherit
            return
        context = home.context.copy()
        context.run(current.set, run)
        if spec.plain:
            context.run(self._call, function, run, given, named)
            return
        if spec.begins is not None and function is spec.function:
            flow = context.run(run.flow, *given, **named)
            if flow is not None:
                self.suspended(run, flow)
                flow.add_done_callback(run.flowed)
                return
        work = function(self.agent, *given, **named) if named else function(self.agent, *given)
        if spec.streams:
            work = run.stream(work)
        task = home.starter.start(work, context, partial(self.ended, run))
        if task is not None:
            self.suspended(run, task)

    def _call(self, function: Any, run: Run, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A plain handler, from beginning to end."""
        try:
            result = function(self.agent, *given, **named)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it belongs to the caller
            self.ended(run, None, error)
        else:
            self.ended(run, result, None)

    def suspended(self, run: Run, task: "asyncio.Future[None]") -> None:
        """A run that has to wait: from now on it holds the turn, and its caller can cancel it."""
        run.task, run.since = task, time.perf_counter()
        if run.spec.takes_turn:
            self.run = run
            for fanout in self.fanouts:
                fanout.look(self)
        else:
            if self.side is None:
                self.side = {}
            self.side.setdefault(run.spec, set()).add(run)
        run.request.on_cancel(run.cancel)

    def ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        """A run is over, at once or later."""
        if run.task is not None:
            if run is self.run:
                self.run = None
                for fanout in self.fanouts:
                    fanout.look(self)
            elif self.side and run in self.side.get(run.spec, ()):
                group = self.side[run.spec]
                group.discard(run)
                if not group:
                    del self.side[run.spec]  # whoever asks whether it has any need not look into each
            if self.state is STOPPING:
                self.owner.look_for_end(self)  # what waits is not begun any more
            elif self.waiting:
                self._schedule()
        if run.started:
            self.add_time(time.perf_counter() - run.started)
        request = run.request
        if failure is None:
            try:
                request.answer(result)
            except _UNANSWERABLE as error:
                self._unanswered(run.spec, request, result, error)
        elif run.cancelled and isinstance(failure, asyncio.CancelledError):
            request.abandoned()  # nobody waits for an answer, but the books are closed
        else:
            self._failed(run.spec, request, failure)
        del run.request  # tasks that the handler left behind inherit the run: they need not keep its message

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.owner.loop.call_soon(self._next)

    def _next(self) -> None:
        """Begins what waits, in order; a message whose handler is full lets those behind it that can begin go first."""
        self._scheduled = False
        waiting = self.waiting
        if waiting is None or self.state not in (RUNNING, STOPPING):
            return
        begun = 0
        while waiting and self.state is RUNNING and begun < _BATCH:
            found = next((entry for entry in waiting if self._can_begin(entry[0])), None)
            if found is None:
                break
            waiting.remove(found)
            begun += 1
            spec, request, queued_at = found
            if request.deadline <= time.monotonic():
                late = DeadlineExceeded(f"{self.name}.{spec.name}: time ran out in the mailbox", stage="queue")
                self.owner.refuse(self, spec, request, late)
                continue
            self.begin(spec, request, queued_at)
        if waiting and begun == _BATCH:
            self._schedule()
        if not waiting:
            for fanout in self.fanouts:
                fanout.look(self)

    def _can_begin(self, spec: Spec) -> bool:
        if spec.takes_turn:
            return self.run is None
        busy = self.side.get(spec) if self.side else None
        return busy is None or len(busy) < spec.options.concurrent

    # outcomes ---------------------------------------------------------------------------------------------------------
    def _unanswered(self, spec: Spec, request: Incoming, result: Any, error: Exception) -> None:
        if not isinstance(error, ThreeModeError):
            error = wire_errors.of_result(result, error, self.name, spec.name)
        self.note(error)
        request.refuse(error)

    def _failed(self, spec: Spec, request: Incoming, failure: BaseException) -> None:
        error = wire_errors.of_handler(failure, self.name, spec.name)
        self.note(error)
        request.refuse(error)
        self.owner.handler_failed(self, spec, error)

    def note(self, error: ThreeModeError) -> None:
        self.errors += 1
        self.last_error = f"{type(error).__name__}: {error.message}"[:300]

    def failed_in_fanout(self, spec: Spec, failure: BaseException) -> None:
        error = wire_errors.of_handler(failure, self.name, spec.name)
        self.note(error)
        self.owner.handler_failed(self, spec, error)

    def add_time(self, seconds: float) -> None:
        if self.latency is None:
            self.latency = Histogram()
        self.latency.add(seconds)

    def _wrong_verb(self, spec: Spec, request: Incoming) -> BadCall:
        verb = "stream" if spec.streams else "ask or tell"
        return BadCall(
            f"{self.name}.{spec.name} {'streams its reply' if verb == 'stream' else 'gives one answer'}",
            hint=f"use {verb}",
            agent=self.name,
            handler=spec.name,
        )

    def _lost(self, why: str) -> PeerLost:
        return PeerLost(f"{self.name} {why}", agent=self.name)

    # life -------------------------------------------------------------------------------------------------------------
    def drop_work(self, why: str, waiting_too: bool) -> list["asyncio.Future[None]"]:
        """Ends what runs, and what waits if that is wanted too: callers get PeerLost at once. Returns the cancelled tasks."""
        waiting = None
        if waiting_too:
            waiting, self.waiting = self.waiting, None
        for spec, request, _ in waiting or ():
            self.owner.refuse(self, spec, request, self._lost(why))
        runs = self.runs
        for run in runs:
            run.cancel(why)
            run.request.refuse(self._lost(why))
        return [run.task for run in runs if run.task]

    def resume(self) -> None:
        self.state = RUNNING
        for fanout in self.fanouts:
            fanout.look(self)
        if self.waiting:
            self._schedule()
