"""Times that no clock reaches, and members that are stopped: nobody waits for ever, and nothing is left of a refused
call.
"""

import asyncio
import math
import signal
from typing import Any

import pytest

from tests.support.bus.members import eventually, members, process
from transports.bus import BusOptions, Policy, SubscribeOptions
from transports.bus.carrier import DATA
from transports.bus.frames import ASK, pack_envelope

BAD = [math.inf, -math.inf, math.nan, 1e300, -1e300]


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
@pytest.mark.parametrize("within", BAD)
async def test_a_call_whose_deadline_is_no_time_is_refused_and_leaves_nothing(within: float, carrier: str) -> None:
    async with members(carrier=carrier) as group:
        bus = await group.join()
        asked: list[Any] = []
        await bus.register("x", asked.append)
        with pytest.raises(ValueError, match="deadline"):
            await bus.ask("x", 1, within=within)
        with pytest.raises(ValueError, match="deadline"):
            bus.call("x", 1, lambda _: None, within=within)
        with pytest.raises(ValueError, match="deadline"):
            async with bus.stream("x", 1, within=within):
                pass
        await asyncio.sleep(0.05)
        assert bus._calls.pending == 0
        assert asked == []


async def test_nan_is_no_time_to_wait() -> None:
    async with members() as group:
        bus = await group.join()
        receipt = bus.publish("t", 1)
        for waiting in (bus.wait_for("nobody", within=math.nan), receipt.settled(within=math.nan), bus.leave(math.nan)):
            with pytest.raises(ValueError, match="seconds"):
                await asyncio.wait_for(waiting, 5)
    for option in ("join_within", "hold_within", "pair_idle", "linger", "spin", "recheck"):
        with pytest.raises(ValueError, match=option):
            BusOptions(**{option: math.nan})
    for seconds in (-0.001, 1.1):
        with pytest.raises(ValueError, match=r"spin is .* it takes 0 to 1"):
            BusOptions(spin=seconds)


@pytest.mark.parametrize("deadline", BAD)
async def test_a_request_whose_deadline_is_no_time_is_served(deadline: float) -> None:
    """From a member that checks nothing."""
    async with members() as group:
        a, b = await group.join(), await group.join()
        got: list[Any] = []
        await b.register("x", got.append)
        await a.wait_for("x")
        a._sending.send(b.id, pack_envelope(ASK, "x", "", 1, deadline), b"\x01", DATA)
        if deadline != -math.inf and not (math.isfinite(deadline) and deadline < 0):
            await eventually(lambda: got)
        await asyncio.sleep(0.05)
        assert group.errors == []
        for request in got:
            request.reply(None)
        assert b._serving.open == 0


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
@pytest.mark.parametrize("policy", [Policy.LOSSY, Policy.RELIABLE])
async def test_subscribing_beside_a_stopped_member(carrier: str, policy: Policy) -> None:
    async with members(carrier=carrier) as group:
        bus, writer = await group.join(), await group.join()
        async with process(group.name, carrier=carrier) as stopped:
            stopped.signal(signal.SIGSTOP)
            await stopped.stopped()
            items: list[Any] = []
            await bus.subscribe("t", items.append, SubscribeOptions(policy=policy, on_event=items.append))
            writer.publish("t", 1)
            await eventually(lambda: [item.payload for item in items] == [1])
            stopped.signal(signal.SIGCONT)
            while not any(getattr(item, "member", "") == stopped.id for item in items):  # see docs/operations.md
                await stopped.do("publish", "t", 1, 10)
            last = max(item.seq for item in items if getattr(item, "member", "") == stopped.id)
            await stopped.do("publish", "t", 50, 10)
            await eventually(lambda: [item.seq for item in items][-50:] == [*range(last + 1, last + 51)])
