"""What a class says of its state, and how the keeps of many agents become few writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from three_mode import Agent
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.bus_store import OrdersOfHosts
from three_mode.agents.keeping.hook import StateHook, state_hook
from three_mode.agents.keeping.keeper import Keeper
from three_mode.agents.keeping.memory_store import MemoryStore
from three_mode.agents.keeping.values import Claimed, KeepClaim, KeepWrite, KeptState, rank_of
from three_mode.errors import BadCall, ConfigurationError, StateNotKept

LARGEST = 1 << 20


class Score(BaseModel):
    points: int
    at: datetime


@dataclass
class Visit:
    places: tuple[str, ...]
    scores: dict[str, float]


def hook_of(hint: Any, version: int = 1) -> StateHook:
    class Kind(Agent):
        keep_version = version

        def restored(self, state: hint) -> None: ...

    found = state_hook(Kind)
    assert found is not None
    return found


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hint", "state"),
    [
        (int, 7),
        (Score, Score(points=3, at=NOON)),
        (Visit, Visit(("a", "b"), {"c": 1.5})),
        (list[Visit], [Visit((), {})]),
        (dict[str, tuple[int, ...]], {"a": (1, 2)}),
        (Any, {"a": (1, {2, 3}), "at": NOON}),
        (set[str], {"x"}),
        (int | None, None),
    ],
)
def test_a_state_comes_back_as_the_hint_says(hint: Any, state: Any) -> None:
    hook = hook_of(hint)
    assert hook.arguments("a/0", hook.snapshot("a/0", state, LARGEST)) == (state,)


def test_what_would_not_come_back_is_refused_when_it_is_kept() -> None:
    with pytest.raises(BadCall, match=r"a/0: the state does not fit .*restored, which takes Score"):
        hook_of(Score).snapshot("a/0", {"points": "many"}, LARGEST)
    with pytest.raises(BadCall, match="a/0: the state cannot be kept: object is no data"):
        hook_of(Any).snapshot("a/0", object(), LARGEST)
    with pytest.raises(BadCall, match="a/0: the state has 13 bytes, and 10 may be kept"):
        hook_of(str).snapshot("a/0", "twelve bytes", 10)


def test_a_class_whose_hook_or_version_is_none_is_refused() -> None:
    class Keyword(Agent):
        def restored(self, *, state: int) -> None: ...

    class Three(Agent):
        def restored(self, state: int, version: int, more: int) -> None: ...

    class Worded(Agent):
        keep_version = "1"  # type: ignore[assignment]

        def restored(self, state: int) -> None: ...

    for kind in (Keyword, Three):
        with pytest.raises(ConfigurationError, match="restored takes other arguments"):
            state_hook(kind)
    with pytest.raises(ConfigurationError, match="keep_version is a whole number, not '1'"):
        state_hook(Worded)
    assert state_hook(Agent) is None


def test_ranks_are_in_the_order_of_number_and_node() -> None:
    ranks = [rank_of(number, node) for number, node in ((0, "b"), (9, "a"), (9, "b"), (10, "a"), (10**15, "a"))]
    assert ranks == sorted(ranks)
    assert min(ranks) > ""


class SlowStore(MemoryStore):
    """A store whose writes wait until the test lets them, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[list[bytes]] = []
        self.may_write = asyncio.Event()
        self.failure: Exception | None = None

    async def write(self, writes: Sequence[KeepWrite]) -> dict[str, str]:
        self.written.append([write.snapshot.state for write in writes])
        await self.may_write.wait()
        if self.failure is not None:
            raise self.failure
        return await super().write(writes)


def keep(agent: str, state: bytes) -> KeepWrite:
    return KeepWrite(agent, f"{agent} 1", KeptState.of(1, state))


async def opened(store: MemoryStore, *agents: str) -> Keeper:
    keeper = Keeper(LARGEST, lambda: store)
    for agent in agents:
        assert await keeper.claim(KeepClaim(agent, f"{agent} 1")) is None
    return keeper


async def test_keeps_of_one_turn_are_one_write_and_of_one_agent_the_last_counts() -> None:
    store = SlowStore()
    keeper = await opened(store, "a/0", "a/1")
    works = [asyncio.ensure_future(keeper.keep(keep(f"a/{n % 2}", str(n).encode()))) for n in range(6)]
    await asyncio.sleep(0.01)
    assert store.written == [[b"4", b"5"]]
    works += [asyncio.ensure_future(keeper.keep(keep("a/0", f"late {n}".encode()))) for n in range(3)]
    await asyncio.sleep(0.01)
    assert len(store.written) == 1, "the next write waits for the one before"
    works[-2].cancel()
    store.may_write.set()
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    assert store.written == [[b"4", b"5"], [b"late 2"]]
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [asyncio.CancelledError]
    assert await keeper.claim(KeepClaim("a/0", "a/0 2")) == KeptState.of(1, b"late 2")


async def test_a_store_that_fails_tells_each_agent_and_works_again() -> None:
    store = SlowStore()
    store.may_write.set()
    keeper = await opened(store, "a/0", "a/1")
    store.failure = StateNotKept("the disk is full", hint="make room")
    outcomes = await asyncio.gather(
        *(keeper.keep(keep(agent, b"x")) for agent in ("a/0", "a/1")), return_exceptions=True
    )
    assert [str(outcome) for outcome in outcomes] == [
        "a/0: the disk is full (make room)",
        "a/1: the disk is full (make room)",
    ]
    store.failure = None
    await keeper.keep(keep("a/0", b"y"))
    await keeper.close()
    with pytest.raises(StateNotKept, match="the process of a/0 ends"):
        await keeper.keep(keep("a/0", b"z"))


async def test_a_large_write_is_parted() -> None:
    store = SlowStore()
    store.may_write.set()
    keeper = await opened(store, *(f"a/{n}" for n in range(5)))
    await asyncio.gather(*(keeper.keep(keep(f"a/{n}", bytes(6 * LARGEST))) for n in range(5)))
    assert [len(states) for states in store.written] == [2, 2, 1]


async def test_claims_of_hosts_are_answered_in_parts_that_are_not_too_long() -> None:
    store = MemoryStore()
    names = [f"a/{n}" for n in range(5)]
    keeper = await opened(store, *names)
    await asyncio.gather(*(keeper.keep(keep(name, bytes(3 * LARGEST))) for name in names))

    class ByOrders(MemoryStore):
        """The orders of a host, without the bus."""

        asked = 0

        async def claim(self, claims: Sequence[KeepClaim]) -> Claimed:
            self.asked += 1
            answer = await OrdersOfHosts(store).claim(encode(list(claims)))
            assert sum(len(found.state) for found in answer.found.values()) <= 4 * LARGEST
            read: Claimed = decoder_for(Claimed)(encode(answer))
            return read

    orders = ByOrders()
    host = Keeper(LARGEST, lambda: orders)
    found = await asyncio.gather(*(host.claim(KeepClaim(name, f"{name} 2")) for name in names))
    assert [len(snapshot.state) for snapshot in found if snapshot is not None] == [3 * LARGEST] * 5
    assert orders.asked == 5
