"""Actor: one agent with its mailbox, its one turn, its runs and its counters.

The rules: a handler holds the agent's one turn unless it is concurrent; a message that cannot begin waits in the
mailbox, in order; a full mailbox refuses. A coroutine begins at once and becomes a task only if it has to wait. Nothing
here knows sockets: a request is anything with the interface `Incoming`.
"""

import asyncio
import contextvars
import math
import random
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from three_mode.agents.agent import Agent
from three_mode.agents.calling.caller import Caller
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.handlers.extensions import PLAIN, exact
from three_mode.agents.handlers.tracing import traced
from three_mode.agents.keeping.keeper import Keeper
from three_mode.agents.runtime.eager import Starter
from three_mode.agents.runtime.journal import Journal
from three_mode.agents.runtime.requests import Incoming, wrong_verb
from three_mode.agents.runtime.run import Run, cycle_error
from three_mode.agents.runtime.startup import StartNotes
from three_mode.agents.runtime.state import RUNNING, STARTING, STOPPED, STOPPING
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import BadCall, DeadlineExceeded, NoSuchAgent, Overloaded, PeerLost, ThreeModeError
from three_mode.handling import current, split
from three_mode.histogram import Histogram

# Errors of a result that cannot travel.
_UNANSWERABLE = (ThreeModeError, TypeError, ValueError, OverflowError, RecursionError)
SAMPLE = 16  # one message in so many is timed
_BATCH = 64  # messages of one mailbox that begin before the event loop gets a turn


class Owner(Protocol):
    """Interface of the population that an actor belongs to."""

    session: Session
    loop: asyncio.AbstractEventLoop
    starter: Starter
    context: contextvars.Context
    journal: Journal | None
    seed: int
    start_note: StartNotes
    keeper: Keeper | None
    watch: Any  # `PopulationWatch` of watched.py, which knows actors

    def caller_of(self, actor: "Actor") -> Caller: ...
    def seed_of(self, name: str) -> int: ...
    def now(self, actor: "Actor") -> float: ...
    def journaled(self, actor: "Actor", spec: Spec, request: Incoming) -> Incoming: ...
    def refuse(self, actor: "Actor", spec: Spec, request: Incoming, error: ThreeModeError) -> None: ...
    def handler_failed(self, actor: "Actor", spec: Spec, error: ThreeModeError) -> None: ...
    def raised_unseen(self, actor: "Actor", handler: str, error: ThreeModeError, failure: BaseException) -> None: ...
    def ends_itself(self, actor: "Actor") -> None: ...
    async def keep(self, actor: "Actor", agent: Agent, state: Any) -> None: ...
    def check_ended(self, actor: "Actor") -> None: ...


class Listeners(Protocol):
    """Interface of a fanout: the actors that listen to one pattern with one handler."""

    spec: Spec

    def update_busy(self, actor: "Actor") -> None:
        """Note whether the actor can begin with a message at once."""
        ...

    def refresh_agents(self) -> None: ...
    def remove(self, actor: "Actor") -> None: ...
    def delivered_to(self, actor: "Actor") -> int: ...


class Actor:
    """One agent with its mailbox, its one turn, its runs and its counters."""

    __slots__ = (
        "_caller",
        "_random",
        "_scheduled",
        "agent",
        "errors",
        "fanouts",
        "gaps",
        "group",
        "incarnation",
        "last_error",
        "latency",
        "messages",
        "name",
        "opened",
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
        self.run: Run | None = None  # the run that holds the turn and had to wait
        self.side: dict[Spec, set[Run]] | None = None  # concurrent runs that had to wait
        self.waiting: deque[tuple[Spec, Incoming, float]] | None = None
        self.fanouts: tuple[Listeners, ...] = ()
        self.messages = self.errors = self.gaps = self.restarts = 0
        self.options: Any = None  # the order that it was made from
        self.last_error = ""
        self.opened = math.inf
        """When it began to listen to broadcasts, on time.monotonic()."""
        self.incarnation = ""
        """Name of this life of the agent at the store of snapshots, once it has its place there."""
        self.latency: Histogram | None = None
        self._scheduled = False
        self._caller: Caller | None = None
        self._random: random.Random | None = None

    # the interface of the agent ---------------------------------------------------------------------------------------
    @property
    def caller(self) -> Caller:
        """Verbs of the agent."""
        if self._caller is None:
            self._caller = self.owner.caller_of(self)
        return self._caller

    @property
    def random(self) -> random.Random:
        """Random numbers of the agent, from a seed of its name."""
        if self._random is None:
            self._random = random.Random(self.owner.seed_of(self.name))
        return self._random

    def now(self) -> float:
        """Return the seconds since the epoch, recorded or replayed where the population has a journal."""
        return self.owner.now(self)

    def reset_random(self) -> None:
        """Start the random numbers over, for a restarted agent."""
        self._random = None

    def end(self) -> None:
        """End the agent once its current message is done."""
        self.owner.ends_itself(self)

    async def keep(self, agent: Agent, state: Any) -> None:
        """Keep the state of an agent; one that was replaced meanwhile, and still runs somewhere, keeps nothing."""
        await self.owner.keep(self, agent, state)

    # load -------------------------------------------------------------------------------------------------------------
    @property
    def ready(self) -> bool:
        """Whether a message that takes the turn can begin now."""
        return self.run is None and self.state is RUNNING and not self.waiting

    @property
    def stays(self) -> bool:
        """Whether a message sent to it will have its turn: it is not about to end."""
        return self.state is not STOPPING and self.state is not STOPPED

    @property
    def load(self) -> int:
        """Number of messages that wait or are being handled."""
        return len(self.waiting or ()) + (self.run is not None) + sum(map(len, (self.side or {}).values()))

    @property
    def runs(self) -> list[Run]:
        """Runs that had to wait, and have not ended."""
        runs = [self.run] if self.run else []
        return runs + [run for group in (self.side or {}).values() for run in group]

    # messages ---------------------------------------------------------------------------------------------------------
    def accept(self, spec: Spec, request: Incoming) -> None:
        """Begin with a message, queue it, or refuse it."""
        if self.state is RUNNING and (
            self.run is None and not self.waiting if spec.takes_turn else not self.side or self.free_for(spec)
        ):
            self.begin(spec, request, 0.0)
        else:
            self._queue(spec, request)

    def free_for(self, spec: Spec) -> bool:
        """Whether a message to this handler can begin now."""
        if self.state is not RUNNING:
            return False
        if spec.takes_turn:
            return self.run is None and not self.waiting
        busy = self.side.get(spec) if self.side else None
        return busy is None or len(busy) < spec.options.concurrent

    def _queue(self, spec: Spec, request: Incoming) -> None:
        """Put a message into the mailbox, or refuse it: a cycle, a full mailbox, or an actor that is stopping."""
        if self.state in (STOPPING, STOPPED):
            self.owner.refuse(self, spec, request, self._peer_lost("is stopping"))
            return
        _, chain = split(request.trace)
        if chain:
            blocking = [self.run] if spec.takes_turn and self.run else (self.side or {}).get(spec, ())
            cycle = cycle_error(self.name, spec.name, chain, blocking)
            if cycle is not None:
                self.owner.refuse(self, spec, request, cycle)
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
            fanout.update_busy(self)
        request.on_cancel(lambda _: self._withdraw(request))
        if self.state is RUNNING:
            self._schedule_next()

    def _withdraw(self, request: Incoming) -> None:
        """Drop a message whose caller left while it waited."""
        entry = next((entry for entry in self.waiting or () if entry[1] is request), None)
        if self.waiting and entry is not None:
            self.waiting.remove(entry)
            self._schedule_next()

    def begin(self, spec: Spec, request: Incoming, queued_at: float) -> None:
        """Begin with a message now. `queued_at`: when it was queued, or 0 if it was not."""
        self.messages += 1
        started = queued_at or (0.0 if self.messages % SAMPLE else time.perf_counter())
        if request.streams is not spec.streams:
            self.owner.refuse(self, spec, request, wrong_verb(self.name, spec))
            return
        try:
            args, kwargs = request.arguments(self.name, spec)
        except BadCall as error:
            self.errors += 1
            self.owner.refuse(self, spec, request, error)
            return
        owner, function, trace = self.owner, spec.function, request.trace
        trace_id, chain = split(trace) if trace else ("", "")
        if owner.journal is not None:
            request = owner.journaled(self, spec, request)
        if owner.session.tracer is not None:
            function = traced(owner.session.tracer, spec, self.name, trace_id, request.sender, not request.tells)
        self.turn = turn = self.turn + 1
        run = Run(self.name, turn, request.deadline, trace_id, chain, self, spec, request, started)
        if spec.plain and not trace and run.deadline == math.inf and owner.journal is None:
            self._call(function, run, args, kwargs)  # its own messages would inherit nothing
            return
        context = owner.context.copy()
        context.run(current.set, run)
        if spec.plain:
            context.run(self._call, function, run, args, kwargs)
            return
        if spec.begins is not None and function is spec.function:
            flow = context.run(run.start_flow, *args, **kwargs)
            if flow is not None:
                self.run_suspended(run, flow)
                flow.add_done_callback(run.flow_ended)
                return
        work = function(self.agent, *args, **kwargs) if kwargs else function(self.agent, *args)
        if spec.streams:
            work = run.stream(work)
        task = owner.starter.start(work, context, partial(self.run_ended, run))
        if task is not None:
            self.run_suspended(run, task)

    def _call(self, function: Any, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Run a plain handler from beginning to end."""
        try:
            result = function(self.agent, *args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # any exception belongs to the caller
            self.run_ended(run, None, error)
        else:
            self.run_ended(run, result, None)

    def run_suspended(self, run: Run, task: "asyncio.Future[None]") -> None:
        """Note a run that has to wait: it holds the turn from now on, and its caller can cancel it."""
        run.task, run.since = task, time.perf_counter()
        if run.spec.takes_turn:
            self.run = run
            for fanout in self.fanouts:
                fanout.update_busy(self)
        else:
            if self.side is None:
                self.side = {}
            self.side.setdefault(run.spec, set()).add(run)
        run.request.on_cancel(run.cancel)

    def run_ended(self, run: Run, result: Any, failure: BaseException | None) -> None:
        """End a run, at once or later: free its turn, and answer its caller."""
        if run.task is not None:
            if run is self.run:
                self.run = None
                for fanout in self.fanouts:
                    fanout.update_busy(self)
            elif self.side and run in self.side.get(run.spec, ()):
                group = self.side[run.spec]
                group.discard(run)
                if not group:
                    del self.side[run.spec]  # so that an empty `side` says that no concurrent run waits
            if self.state is STOPPING:
                self.owner.check_ended(self)  # queued messages do not begin any more
            elif self.waiting:
                self._schedule_next()
        if run.started:
            self.add_time(time.perf_counter() - run.started)
        request = run.request
        if failure is None:
            try:
                marked = type(result) not in PLAIN and run.spec.schema.open_result
                request.answer(exact(result) if marked else result)
            except _UNANSWERABLE as error:
                self._answer_failed(run.spec, request, result, error)
        elif run.cancelled and isinstance(failure, asyncio.CancelledError):
            request.abandoned()  # nobody waits for an answer; the request is closed all the same
        else:
            self._handler_failed(run.spec, request, failure)
        del run.request  # tasks that the handler left behind keep the run, and need not keep its message

    def _schedule_next(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.owner.loop.call_soon(self._begin_queued)

    def _begin_queued(self) -> None:
        """Begin with queued messages, in order; a message whose concurrent handler is full lets others behind it begin
        first."""
        self._scheduled = False
        waiting = self.waiting
        if waiting is None or self.state not in (RUNNING, STOPPING):
            return
        begun_count = 0
        while waiting and self.state is RUNNING and begun_count < _BATCH:
            found = next((entry for entry in waiting if self._can_begin(entry[0])), None)
            if found is None:
                break
            waiting.remove(found)
            begun_count += 1
            spec, request, queued_at = found
            if request.deadline <= time.monotonic():
                late = DeadlineExceeded(f"{self.name}.{spec.name}: time ran out in the mailbox", stage="queue")
                self.owner.refuse(self, spec, request, late)
                continue
            self.begin(spec, request, queued_at)
        if waiting and begun_count == _BATCH:
            self._schedule_next()
        if not waiting:
            for fanout in self.fanouts:
                fanout.update_busy(self)

    def _can_begin(self, spec: Spec) -> bool:
        if spec.takes_turn:
            return self.run is None
        busy = self.side.get(spec) if self.side else None
        return busy is None or len(busy) < spec.options.concurrent

    # outcomes ---------------------------------------------------------------------------------------------------------
    def _answer_failed(self, spec: Spec, request: Incoming, result: Any, error: Exception) -> None:
        if not isinstance(error, ThreeModeError):
            error = wire_errors.of_result(result, error, self.name, spec.name)
        self.note_error(error)
        request.refuse(error)

    def _handler_failed(self, spec: Spec, request: Incoming, failure: BaseException) -> None:
        error = wire_errors.of_handler(failure, self.name, spec.name)
        self.note_error(error)
        request.refuse(error)
        if request.tells:
            request.raised(self.name)
            self.owner.raised_unseen(self, spec.name, error, failure)
        self.owner.handler_failed(self, spec, error)

    def note_error(self, error: ThreeModeError) -> None:
        """Count an error, and keep it as the last one."""
        self.errors += 1
        self.last_error = wire_errors.text_of(error)

    def broadcast_failed(self, spec: Spec, failure: BaseException) -> None:
        """Note that the handler of a broadcast, which has no caller, has raised."""
        error = wire_errors.of_handler(failure, self.name, spec.name)
        self.note_error(error)
        self.owner.raised_unseen(self, spec.name, error, failure)
        self.owner.handler_failed(self, spec, error)

    def add_time(self, seconds: float) -> None:
        """Add a sample to the latencies."""
        if self.latency is None:
            self.latency = Histogram()
        self.latency.add(seconds)

    def _peer_lost(self, why: str) -> PeerLost:
        return PeerLost(f"{self.name} {why}", agent=self.name)

    # stopping and restarting ------------------------------------------------------------------------------------------
    def drop_work(self, why: str, waiting_too: bool) -> list["asyncio.Future[None]"]:
        """End all runs, and with `waiting_too` the queued messages: callers get PeerLost at once.

        Return the cancelled tasks.
        """
        waiting = None
        if waiting_too:
            waiting, self.waiting = self.waiting, None
        for spec, request, _ in waiting or ():
            self.owner.refuse(self, spec, request, self._peer_lost(why))
        runs = self.runs
        for run in runs:
            run.cancel(why)
            run.request.refuse(self._peer_lost(why))
        return [run.task for run in runs if run.task]

    def take_specs(self, specs: Mapping[str, Spec]) -> None:
        """Take the handlers of a class that was loaded anew; messages that wait for one that is gone are refused."""
        self.specs = specs
        waiting, self.waiting = self.waiting, None
        for spec, request, since in waiting or ():
            new = specs.get(spec.name)
            if new is not None:
                self.waiting = self.waiting or deque()
                self.waiting.append((new, request, since))
            else:
                gone = NoSuchAgent(f"{self.name} has no handler {spec.name!r} any more", agent=self.name)
                self.owner.refuse(self, spec, request, gone)

    def resume(self) -> None:
        """Handle messages again, the queued ones first."""
        self.state = RUNNING
        for fanout in self.fanouts:
            fanout.update_busy(self)
        if self.waiting:
            self._schedule_next()
