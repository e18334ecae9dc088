"""Who leads is unplugged from its network, on machines of their own: another one leads, agents stay, and the healing
leaves one leader."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.cluster.city import FarNode
from tests.support.cluster.nodes import ROOT, new_name
from tests.support.cluster.server import NatsServer
from three_mode.testing import Machines

_PORT, _LINE = 4222, 2**20
NODES = {"home": False, "second": True, "a": False}  # and whether it stands by


@asynccontextmanager
async def far_node(machines: Machines, cluster: str, name: str) -> AsyncIterator[FarNode]:
    """Start a node on its machine, and end it in order."""
    url = f"nats://{machines.address('server')}:{_PORT}"
    settings = json.dumps({"url": url, "cluster": cluster, "name": name, "standby": NODES[name]})
    program = [sys.executable, "-m", "tests.support.cluster.standby_node", settings]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *machines.command(name, program), cwd=ROOT, stdin=pipe, stdout=pipe, limit=_LINE
    )
    node = FarNode(process)
    try:
        await node.answer()
        yield node
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            process.kill()
            await process.wait()


class Watched:
    """The nodes, and who was seen to lead in which term: each is asked itself, also while its machine is unplugged."""

    def __init__(self, nodes: dict[str, FarNode]) -> None:
        self._nodes = nodes
        self.leaders: dict[int, set[str]] = {}

    async def look(self) -> dict[str, dict[str, Any]]:
        """Return the state of each node."""
        states = {name: await node.ask("state") for name, node in self._nodes.items()}
        for name, state in states.items():
            if state["term"]:
                self.leaders.setdefault(state["term"], set()).add(name)
        return states

    async def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        """Look until something holds; return the states."""
        for _ in range(1200):
            states = await self.look()
            if holds(states):
                return states
            await asyncio.sleep(0.05)
        raise AssertionError(f"it did not come true in time: {states}")


@pytest.mark.timeout(240)
async def test_a_leader_whose_machine_is_unplugged_is_followed_by_one_and_steps_down_when_it_is_back() -> None:
    why = Machines.refused()
    if why:
        pytest.skip(why)
    cluster = new_name()
    with Machines("server", *NODES) as machines:
        async with (
            NatsServer(machine=(machines, "server", _PORT)),
            far_node(machines, cluster, "a") as a,
            far_node(machines, cluster, "second") as second,
            far_node(machines, cluster, "home") as home,
        ):
            watched = Watched({"home": home, "second": second, "a": a})
            await watched.until(lambda states: all(len(state["parts"]) == 3 for state in states.values()))
            assert await home.ask("spawn", group="kept", on=["a"]) == ["kept/0"]
            both = await home.ask("spawn", group="any", on=["home", "a"])
            for number in range(3):
                await home.ask("tell", name="kept/0", number=number)
            assert await home.ask("told", name="kept/0") == [0, 1, 2]
            before = await watched.until(lambda states: states["second"]["follows"] == 1)
            lost = before["home"]["here"]
            assert lost

            machines.unplug("home")
            parted = await watched.until(lambda states: states["second"]["term"] > 0)
            assert parted["second"]["term"] > parted["home"]["term"] > 0  # it cannot know better yet
            assert parted["home"]["here"] == lost
            assert "NodeLost" in parted["second"]["events"]
            await second.ask("wait_for", names=both)
            assert await second.ask("told", name="kept/0") == [0, 1, 2]  # the same life, led by another
            await second.ask("tell", name="kept/0", number=3)
            assert await second.ask("spawn", group="kept", on=["a"]) == ["kept/1"]
            assert not {"AgentsOutranked", "AgentDied"} & set((await watched.look())["a"]["events"])

            machines.plug("home")
            parts = {"home": "stands by", "second": "leads", "a": ""}
            healed = await watched.until(
                lambda states: all(state["parts"] == parts for state in states.values()) and not states["home"]["here"]
            )
            assert {"SteppedDown", "AgentsOutranked"} <= set(healed["home"]["events"])
            assert "TookOver" in healed["second"]["events"]
            assert "TookOver" in healed["a"]["events"]
            assert "SteppedDown" not in healed["second"]["events"]
            for node in (home, second, a):
                await node.ask("wait_for", names=[*both, "kept/0", "kept/1"])
                assert await node.ask("told", name="kept/0") == [0, 1, 2, 3]
            assert sorted(healed["a"]["here"] + healed["second"]["here"]) == sorted([*both, "kept/0", "kept/1"])
            assert all(len(names) == 1 for names in watched.leaders.values()), watched.leaders
