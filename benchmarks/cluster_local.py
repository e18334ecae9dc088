"""What a cluster costs the agents of one node among themselves: ask and broadcast with one configured, and without."""

import asyncio
import importlib.util
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from benchmarks._agents_cast import ITEM, Finish, Plain, pids_beside
from benchmarks._cluster_cast import Echo
from benchmarks._cluster_field import GET_SERVER, ClusterField, server_program
from benchmarks.agents_calls import CALLS, FIRST_CALLS, timed, until_all_ran
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async, cores
from three_mode import Orchestrator
from three_mode.cluster import Cluster

AGENTS = 512
ASK = "ask one agent of this node in another process"
CAST = f"broadcast to {AGENTS} of this node in 2 processes, until all handlers have run"
WITH, WITHOUT = "a node of a cluster", "without a cluster"


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not server_program() or importlib.util.find_spec("nats") is None:
        yield Missing(case=ASK, subject=WITH, how_to_get=f"{GET_SERVER}; pip install 'three-mode[cluster]'")
        return
    with ClusterField() as field:
        field.start("", "agents", field.url, "other", Echo.__name__, 1)  # a cluster has another node
        yield from uvloop.run(_measure(context, field.url))


async def _measure(context: Context, url: str) -> list[Row]:
    cluster = Cluster(url, name="bench", node=f"local-{os.getpid()}", connect_within=60)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        ends: dict[str, Finish] = {}
        nodes: dict[str, Orchestrator] = {}
        for name, of in ((WITH, cluster), (WITHOUT, None)):
            ends[name] = Finish(folder, name)
            orc = Orchestrator(hosts=2, name=f"bench-local-{os.getpid()}-{len(nodes)}", cluster=of)
            nodes[name] = await stack.enter_async_context(orc)
        groups = {name: await orc.spawn(Plain, AGENTS, name=f"plain{len(name)}") for name, orc in nodes.items()}
        for orc in nodes.values():
            for pid in pids_beside(orc.bus):
                if pid != os.getpid():
                    cores.seat(1, pid)
        await asyncio.sleep(1.0)  # heartbeats and names have gone round
        context.progress("asking")
        with cores.this_thread_on(0):
            asks = await alternate_async(
                {
                    name: timed(lambda agent=group[7]: agent.ask(Plain.echo, "hello"), CALLS, FIRST_CALLS)  # type: ignore[misc]
                    for name, group in groups.items()
                },
                context.rounds(40),
                warm_up=3,
            )
        context.progress("broadcasting")
        for orc in nodes.values():
            cores.spread(pid for pid in pids_beside(orc.bus) if pid != os.getpid())
        casts = await alternate_async(
            {
                name: until_all_ran(lambda orc=orc: orc.broadcast("news.eu", ITEM), ends[name])  # type: ignore[misc]
                for name, orc in nodes.items()
            },
            context.rounds(80),
        )
    return [
        Row(case=case, subject=name, unit="us", samples=[1e6 * s for s in took])
        for case, found in ((ASK, asks), (CAST, casts))
        for name, took in found.items()
    ]


BENCHMARK = Benchmark(
    summary="ask and broadcast among agents of one node, with a cluster configured and without",
    run=run,
    targets=[
        Target(case=ASK, subject=WITH, peer=WITHOUT, at_most=1.05),
        Target(case=CAST, subject=WITH, peer=WITHOUT, at_most=1.05),
    ],
    notes=(
        "The cluster has one other node, whose agent listens to nothing: where agents of others listen, a broadcast "
        "also goes to them. The gateway, with its heartbeats, is in the process that asks and publishes."
    ),
)
