"""Nodes of the tests: in this process, and in processes of their own."""

import asyncio
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from three_mode import Orchestrator
from three_mode.cluster import Cluster, NodeTiming

ROOT = Path(__file__).resolve().parents[3]
FAST = NodeTiming(heartbeat=0.1, suspected_after=0.5, lost_after=1.5)
PATIENT = 30.0  # seconds for what usually takes some milliseconds


def new_name() -> str:
    """Return a name for a cluster that no other test has."""
    return f"city-{secrets.token_hex(4)}"


def node(url: str, cluster: str, name: str, hosts: int = 0, timing: NodeTiming | None = None) -> Orchestrator:
    """Return the orchestrator of a node in this process."""
    options = Cluster(url, name=cluster, node=name, timing=timing or NodeTiming())
    return Orchestrator(hosts=hosts, name=f"{cluster}-{name}", cluster=options)


class ChildNode:
    """A node in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def send(self, what: signal.Signals) -> None:
        self.process.send_signal(what)

    async def end(self) -> None:
        """End it in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), PATIENT)


@asynccontextmanager
async def child_node(url: str, cluster: str, name: str, group: str, count: int = 2) -> AsyncIterator[ChildNode]:
    """Start a node with agents, and kill it at the end if it still runs."""
    words = ("-m", "tests.support.cluster.node_child", url, cluster, name, group, str(count))
    async with _child(b"ready", *words) as child:
        yield child


@asynccontextmanager
async def child_home(url: str, cluster: str, *nodes: str) -> AsyncIterator[ChildNode]:
    """Start a home that places an agent on each of these nodes, and kill it at the end if it still runs."""
    async with _child(b"ready", "-m", "tests.support.cluster.home_child", url, cluster, *nodes) as child:
        yield child


@asynccontextmanager
async def command_node(url: str, cluster: str, name: str, *words: str) -> AsyncIterator[ChildNode]:
    """Start a node by `three-mode node`, and kill it at the end if it still runs."""
    where = ("--cluster", url, "--name", cluster, "--node", name, "--hosts", "1", "--json")
    async with _child(b'{"node"', "-m", "three_mode.cli", "node", *where, *words) as child:
        yield child


@asynccontextmanager
async def _child(says: bytes, *words: str) -> AsyncIterator[ChildNode]:
    """Start Python with these words, wait until it says that it is there, and kill it at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 2 * PATIENT)
        assert line.startswith(says), line
        yield ChildNode(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            await process.wait()


async def until(condition: Callable[[], Any], within: float = PATIENT) -> None:
    """Wait until a condition holds."""
    ends = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends, "it did not come true in time"
        await asyncio.sleep(0.02)


def worker(url: str, cluster: str, name: str, standby: bool = False, **offer: Any) -> Orchestrator:
    """Return the orchestrator of a node in this process that takes orders for the agents of the tests."""
    offer = {"allow": ("tests.support",), "timing": FAST} | offer
    return Orchestrator(0, f"{cluster}-{name}", cluster=Cluster(url, name=cluster, node=name, **offer), standby=standby)
