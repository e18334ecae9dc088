"""One suite for every place of agents: each test of this folder runs with agents in the caller's process, in a host
process, and on another node of a cluster."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.support.agents.conformance_cast import Parrot, Worker
from tests.support.cluster.server import NatsServer
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, OrchestratorOptions
from three_mode.cluster import Cluster

PLACES = ["this process", "a host", "another node"]
WITHIN = 60.0  # seconds for what usually takes some milliseconds


class Place(NamedTuple):
    """Where the agents are. `caller` calls them, `owner` has made them."""

    name: str
    caller: Orchestrator
    owner: Orchestrator
    workers: AgentGroup
    """Three agents, as the caller sees them."""
    near: str
    """An agent at the caller, which calls back."""
    where: str
    """Name of the node of the workers; empty without a cluster."""
    traces: Path
    recording: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder, name = tmp_path_factory.mktemp("place"), str(request.param)
    traces, recording = folder / "spans", folder / "run.rec"
    options = OrchestratorOptions(tracer="tests.support.agents.conformance_cast:CalmTracer")
    recorded = OrchestratorOptions(tracer=options.tracer, record=str(recording))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACE_FILE", str(traces))
        async with AsyncExitStack() as stack:
            if name == "another node":
                server = await stack.enter_async_context(NatsServer())
                city = [
                    Cluster(server.url, name=f"city-{folder.name}", node=one, connect_within=WITHIN) for one in "ab"
                ]
                caller = await stack.enter_async_context(Orchestrator(0, cluster=city[0], options=options))
                owner = await stack.enter_async_context(Orchestrator(0, cluster=city[1], options=recorded))
            else:
                owner = Orchestrator(hosts=0 if name == "this process" else 1, options=recorded)
                caller = await stack.enter_async_context(owner)
            await caller.spawn(Worker, 1, name="near", within=WITHIN)
            await owner.spawn(Worker, 3, name="worker", roles=["clerk"], within=WITHIN)
            await owner.spawn(Parrot, 1, name="parrot", within=WITHIN)
            names = ["worker/0", "worker/1", "worker/2", "parrot/0"]
            await caller.bus.wait_for(names, within=WITHIN)
            await owner.bus.wait_for(["near/0"], within=WITHIN)
            for _ in range(1000):  # roles and patterns come with the names, or just after
                seen = await caller.broadcast("news.start", {"id": -1}).settled(within=WITHIN)
                if seen.seen == 4:
                    break
                await asyncio.sleep(0.05)
            where = "b" if name == "another node" else ""
            yield Place(name, caller, owner, caller.group("worker"), "near/0", where, traces, recording)
