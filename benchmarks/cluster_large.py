"""Ten thousand agents on four nodes: spawn, broadcast, gather from a fifth, and memory."""

import importlib.util
import time
from collections.abc import Iterator

import psutil

from benchmarks._cluster_cast import Reader
from benchmarks._cluster_field import GET_SERVER, ClusterField, Program, server_program
from benchmarks.harness import Benchmark, Context, Missing, Row

NODES, AGENTS = 4, 2500  # agents of each
TOGETHER = NODES * AGENTS
US = "three-mode"
CASE = f"{TOGETHER:,} agents on {NODES} nodes, from a node without agents"


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not server_program() or importlib.util.find_spec("nats") is None:
        yield Missing(case=CASE, subject=US, how_to_get=f"{GET_SERVER}; pip install 'three-mode[cluster]'")
        return
    names = [f"many{number}" for number in range(NODES)]
    with ClusterField("caller", *names) as field:
        context.progress("nodes of one agent each")
        few = {name: field.start(name, "agents", field.url, f"few-{name}", Reader.__name__, 1) for name in names}
        before = sum(map(_memory, few.values()))
        for node in few.values():
            node.close()
        caller = field.start("caller", "many", field.url, NODES, AGENTS)
        context.progress("spawning")
        started = time.monotonic()
        nodes = [field.start(name, "agents", field.url, name, Reader.__name__, AGENTS) for name in names]
        spawned = time.monotonic() - started
        rounds = [[float(word) for word in caller.round().split()] for _ in range(context.rounds(10))]
        after, note = sum(map(_memory, nodes)), field.note
        own = _memory(caller)
    yield Row(
        case=f"{CASE}: start of the nodes with them, one after another",
        subject=US,
        unit="s",
        samples=[spawned],
        note=note,
    )
    yield Row(case=f"{CASE}: then, until all are seen there", subject=US, unit="s", samples=[rounds[0][0]], note=note)
    for place, what in ((1, "a broadcast with its receipt"), (2, "gather")):
        samples = [1e3 * one[place] for one in rounds[1:]]
        yield Row(case=f"{CASE}: {what}", subject=US, unit="ms", samples=samples, note=note)
    each = (after - before) / (TOGETHER - NODES) / 1024
    yield Row(
        case="memory of one more agent, at its node and in the names of the others",
        subject=US,
        unit="KiB",
        samples=[each],
    )
    yield Row(case="memory of the node that calls them", subject=US, unit="MiB", samples=[own / 2**20])


def _memory(program: Program) -> int:
    """Bytes of a node's processes, what they share parted among them."""
    root = psutil.Process(program.pid)
    return sum(int(process.memory_full_info().pss) for process in (root, *root.children(recursive=True)))


BENCHMARK = Benchmark(
    summary="10,000 agents on four nodes: spawn, broadcast, gather, memory",
    run=run,
    notes=(
        "Each node starts with its agents in one host, in a process of its own; starting Python is in the seconds. The "
        "answers of a gather come from all nodes side by side. Memory is that of all processes of the four nodes, "
        "beside the same with one agent each."
    ),
)
