"""Systems of ours in worlds where everything fails: many seeds, whose promises hold, and faults planted into our code,
which are found."""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.support.world import agents_system, bus_system, nodes_system, tools_system
from three_mode.agents.keeping.memory_store import MemoryStore
from three_mode.agents.runtime import lifecycle
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.population import Population
from three_mode.agents.supervisor.restart import Again, History
from three_mode.agents.supervisor.supervisor import Supervisor
from three_mode.testing.world import World, WorldOptions
from three_mode.tools.call_runner import CallRunner
from transports.bus.asking.calls import Calls
from transports.bus.asking.requests import ReplyStream
from transports.bus.registry.changes import PendingChanges
from transports.bus.registry.state import RegistryState
from transports.bus.zeromq.inbound import Inbound

SEEDS = {agents_system: 900, bus_system: 700, tools_system: 250, nodes_system: 150}
CHUNK = 50
LONGEST = 60.0  # seconds of one world
ENOUGH = 500  # seeds in which a planted fault is found
CHUNKS = [(system, first) for system, seeds in SEEDS.items() for first in range(0, seeds, CHUNK)]


def world_of(system: ModuleType, seed: int) -> World:
    """Return a world for one of the systems."""
    options = getattr(system, "OPTIONS", WorldOptions(longest=LONGEST))
    return World(seed, faults=system.FAULTS, options=options, **getattr(system, "WORLD", {}))


@pytest.mark.parametrize(("system", "first"), CHUNKS, ids=[f"{s.__name__.rpartition('.')[2]}-{n}" for s, n in CHUNKS])
def test_the_promises_hold_with_every_seed(system: ModuleType, first: int) -> None:
    explored = world_of(system, first).explore(system.play, seeds=CHUNK)
    assert explored.seeds == CHUNK
    assert explored.frames > 50 * CHUNK


@pytest.mark.soak
@pytest.mark.timeout(3500)
@pytest.mark.parametrize("system", SEEDS, ids=lambda system: system.__name__.rpartition(".")[2])
def test_the_promises_hold_with_many_more_seeds(system: ModuleType) -> None:
    world_of(system, 10_000).explore(system.play, seeds=20_000)


# faults that are planted ----------------------------------------------------------------------------------------------
def _takes_again(inbound: Inbound[Any], seq: int, item: Any) -> list[tuple[int, Any]]:
    inbound.newest, inbound.next = max(inbound.newest, seq), max(inbound.next, seq + 1)
    return [(seq, item)]


def _grants_more(stream: ReplyStream, count: int, _grant: Callable[..., None] = ReplyStream.grant) -> None:
    _grant(stream, 4 * count)


def _accepts_at_once(actor: Actor, spec: Any, request: Any) -> None:
    actor.begin(spec, request, 0.0)


async def _tells_nobody(actors: Any, which: str, _run: Callable[..., Any] = lifecycle.run_hooks) -> Any:
    return {} if which == "stopped" else await _run(actors, which)


async def _keeps_nothing(store: MemoryStore, writes: Any) -> dict[str, str]:
    return {}


async def _works_twice(
    runner: CallRunner, number: int, tool: Any, call: Any, _work: Callable[..., Any] = CallRunner._work
) -> Any:
    await _work(runner, number, tool, call)
    return await _work(runner, number, tool, call)


async def _brings_nobody_back(supervisor: Supervisor, host: Any) -> None:
    return None


def _always_again(history: History, now: float, failed: bool, reason: str) -> Again:
    return Again(0.0)


def _says_that_all_is_seen(reader: Inbound[Any], seq: int) -> str:
    return "seen"


PLANTED: dict[str, tuple[ModuleType, Any, str, Any, str]] = {
    "duplicates of broadcasts are taken": (bus_system, Inbound, "take", _takes_again, "no gap between|counts|heard"),
    "broadcasts that are missing are not asked for": (bus_system, Inbound, "missing", lambda _: None, "all is well"),
    "each broadcast counts as seen": (bus_system, Inbound, "verdict", _says_that_all_is_seen, "has not heard"),
    "more credit is granted than was given": (bus_system, ReplyStream, "grant", _grants_more, "ahead of its reader"),
    "calls whose time is over wait on": (bus_system, Calls, "_expired", lambda *_: None, "has not ended"),
    "the next registry forgets names": (bus_system, RegistryState, "_restore", lambda *_: None, "come true|is called"),
    "the dead are not announced": (bus_system, PendingChanges, "lost", lambda *_: None, "come true"),
    "agents that are here since counted as seen": (
        agents_system,
        Population,
        "listening_since",
        lambda *_: set(),
        "heard by|counts more",
    ),
    "a handler begins while another runs": (agents_system, Actor, "accept", _accepts_at_once, "at once"),
    "an agent that is replaced is not told": (agents_system, lifecycle, "run_hooks", _tells_nobody, "two incarnations"),
    "limits of restarts are not counted": (agents_system, History, "ended", _always_again, "its limit is"),
    "agents of a host that died stay away": (agents_system, Supervisor, "host_back", _brings_nobody_back, "come back"),
    "a kept state is confirmed and not kept": (agents_system, MemoryStore, "write", _keeps_nothing, "has lost what"),
    "a tool is called twice": (tools_system, CallRunner, "_work", _works_twice, "handled twice"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    system, owner, name, replacement, complaint = PLANTED[fault]
    monkeypatch.setattr(owner, name, replacement)
    others: set[str] = set()
    for seed in range(ENOUGH):
        said = broken_by(system, seed)
        if re.search(complaint, said):
            return
        others.add(said[:200])
    pytest.fail(f"{ENOUGH} seeds did not show {complaint!r}; what they showed: {others - {''} or 'nothing'}")


def broken_by(system: ModuleType, seed: int) -> str:
    """Run a system with a seed; return what is broken, "" if nothing is."""
    try:
        world_of(system, seed).run(system.play, shrink=False)
    except Exception as error:  # noqa: BLE001  # that is what is looked for
        return text_of(error)
    return ""


def text_of(error: BaseException) -> str:
    """Return the text of an error, or of all in a group."""
    if isinstance(error, BaseExceptionGroup):
        return " & ".join(map(text_of, error.exceptions))
    return f"{type(error).__name__}: {error}"
