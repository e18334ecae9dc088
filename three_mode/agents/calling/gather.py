"""Gather: one call to many agents, sent once per host process, whose answers arrive in parts as they become ready."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from three_mode.agents.handlers.codec import Decode, decode_marked_by, decoder_for, encode
from three_mode.agents.wire.orders import GatherOrder
from three_mode.errors import BadResult, PeerLost, ThreeModeError
from three_mode.messages import decode_error
from transports.bus import BusError, DeadlineExceeded, Encoded, NoSuchName

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

# One part of a host's answer: (index in the order's names, whether it is a result, the result or the encoded error).
Part = list[tuple[int, bool, msgspec.Raw]]
decode_part = decoder_for(Part)
_decode_error_data = decoder_for(dict[str, Any])


T = TypeVar("T")


@dataclass(frozen=True)
class Gathered(Generic[T]):
    """Answers of many agents, complete or not: iterate over it for the values. `T` is the type of one answer."""

    values: dict[str, T] = field(default_factory=dict)
    """Agent -> its answer."""
    errors: dict[str, ThreeModeError] = field(default_factory=dict)
    """Agent -> the error that it answered with, or the reason why it could not be asked."""
    missing: tuple[str, ...] = ()
    """Agents that had not answered when time ran out or the quorum was reached."""
    quorum: int | None = None
    """Answers that were needed; None: all."""

    @property
    def complete(self) -> bool:
        """Whether every agent has answered with a value."""
        return not self.errors and not self.missing

    @property
    def reached(self) -> bool:
        """Whether enough agents answered with a value: the quorum, or all where there is none."""
        needed = len(self.errors) + len(self.missing) if self.quorum is None else self.quorum - len(self.values)
        return needed <= 0

    def __iter__(self) -> Iterator[T]:
        return iter(self.values.values())

    def __len__(self) -> int:
        return len(self.values)


class Tally:
    """Count answers until the quorum is reached, or all have answered; then `done` is called, once."""

    __slots__ = ("_done", "_needed", "errors", "names", "open", "quorum", "values")

    def __init__(self, names: Sequence[str], quorum: int | None, done: Callable[[], None]) -> None:
        self.names, self.quorum = names, quorum
        self.open = dict.fromkeys(names)
        self.values: dict[str, Any] = {}
        self.errors: dict[str, ThreeModeError] = {}
        self._needed = len(self.open) if quorum is None else quorum
        self._done: Callable[[], None] | None = done

    def answer(self, name: str, value: Any) -> None:
        """Add the answer of an agent, unless that agent has answered already."""
        if name in self.open:
            del self.open[name]
            self.values[name] = value
            self._check_done()

    def fail(self, name: str, error: ThreeModeError) -> None:
        """Add the error of an agent, unless that agent has answered already."""
        if name in self.open:
            del self.open[name]
            self.errors[name] = error
            self._check_done()

    def fail_open(self, names: Sequence[str], error: Callable[[str], ThreeModeError]) -> None:
        """Add `error(name)` for each of these agents that has not answered."""
        for name in names:
            if name in self.open:
                self.fail(name, error(name))

    def _check_done(self) -> None:
        if self._done is None:
            return
        if not self.open or len(self.values) >= self._needed:
            done, self._done = self._done, None
            done()

    def result(self) -> Gathered[Any]:
        """Return the answers so far; later ones no longer call `done`."""
        self._done = None
        return Gathered(self.values, self.errors, tuple(self.open), self.quorum)


@dataclass(frozen=True)
class Plan:
    """Call that each agent gets: handler, encoded arguments, deadline in seconds, trace and sender."""

    handler: str
    call: bytes
    decode: Decode
    within: float
    trace: str
    sender: str


async def gather(session: "Session", names: Sequence[str], plan: Plan, quorum: int | None) -> Gathered[Any]:
    """Ask the named agents, one question per host, until the quorum, all answers, or the deadline."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def complete() -> None:
        if not done.done():
            done.set_result(None)

    tally = Tally(names, quorum, complete)
    by_host = _by_host(session, names, plan, tally)
    if not tally.open or quorum == 0:
        return tally.result()
    tasks = [asyncio.create_task(_ask_host(session, host, group, plan, tally)) for host, group in by_host.items()]
    try:
        async with asyncio.timeout(plan.within):
            await done
    except TimeoutError:
        pass  # agents without an answer are missing: a value, not an error
    finally:
        for task in tasks:  # leaving a host's stream cancels the calls that its agents still handle
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return tally.result()


def _by_host(session: "Session", names: Sequence[str], plan: Plan, tally: Tally) -> dict[str, list[str]]:
    """Return host name -> its agents among `names`; an agent on no host has failed."""
    owners, hosts = session.bus.names(), session.hosts
    found: dict[str, list[str]] = {}
    for name in names:
        host = hosts.get(owners.get(name, ""))
        if host is None:
            tally.fail(name, session.error(NoSuchName(name), name, plan.handler))
        elif host in found:
            found[host].append(name)
        else:
            found[host] = [name]
    return found


async def _ask_host(session: "Session", host: str, names: list[str], plan: Plan, tally: Tally) -> None:
    order = GatherOrder(tuple(names), plan.handler, plan.call)
    try:
        async with session.bus.stream(
            host,
            Encoded(encode(order)),
            topic="gather",
            within=plan.within,
            trace=plan.trace,
            sender=plan.sender,
        ) as parts:
            async for part in parts:
                _add_answers(part.raw, names, plan, tally)
    except DeadlineExceeded:
        return  # agents without an answer are missing
    except BusError as error:
        failure = error  # Python unbinds `error` after this block
        tally.fail_open(names, lambda name: session.error(failure, name, plan.handler))
    tally.fail_open(names, lambda name: PeerLost(f"{name} did not answer, and its host ended the call", agent=name))


def _add_answers(raw: bytes, names: list[str], plan: Plan, tally: Tally) -> None:
    answer, decode = tally.answer, plan.decode
    for index, good, content in decode_part(raw):
        name = names[index]
        if not good:
            tally.fail(name, decode_error(_decode_error_data(content)))
            continue
        try:
            try:
                value = decode(content)
            except msgspec.ValidationError as error:
                value = decode_marked_by(decode, content, error)
            answer(name, value)
        except Exception as error:  # noqa: BLE001  # code of a hint may raise anything: it concerns this agent alone
            wrong = f"{name}.{plan.handler} answered something else than its hint says: {error}"
            tally.fail(name, BadResult(wrong, agent=name, handler=plan.handler))
