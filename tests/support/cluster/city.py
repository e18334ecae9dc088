"""A cluster on machines of its own: a server, and nodes that can be cut off, stopped, killed and started again."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.cluster.nodes import ROOT, new_name
from tests.support.cluster.relay import Relay
from tests.support.cluster.server import NatsServer
from tests.support.cluster.witness import Journal
from three_mode.testing import Machines

GROUPS = {"a": ("near", 1), "b": ("far", 4), "c": ("third", 2)}
HOSTS = {"a": 1, "b": 1, "c": 0}
AGENTS = [f"{group}/{number}" for group, count in GROUPS.values() for number in range(count)]
_PORT = 4222
_ANSWERS_WITHIN = 150.0
_LINE = 2**24  # bytes of the longest answer


class FarNode:
    """A node on a machine of its own, as the test has it: its process, and what it answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def ask(self, order: str, **arguments: Any) -> Any:
        """Give an order, and return what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([order, arguments]).encode() + b"\n")
        return await self.answer()

    async def answer(self) -> Any:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), _ANSWERS_WITHIN)
        assert line, "the node has ended"
        return json.loads(line)


class City:
    """The cluster: node `a` asks, `b` is in trouble, `c` stands by. Each reaches the server by a relay of its own."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.journal = Journal(folder / "journal")
        self._seed, self.name = seed, new_name()
        self.machines = Machines("server", *GROUPS)
        self.relays: dict[str, Relay] = {}
        self.nodes: dict[str, FarNode] = {}
        self.died: dict[str, float] = {}
        """Agent -> when its process was killed."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            self._stack.enter_context(self.machines)
            self.server = NatsServer(machine=(self.machines, "server", _PORT))
            await self._stack.enter_async_context(self.server)
            for number, name in enumerate(GROUPS, 1):
                relay = Relay(self.machines, "server", _PORT + number, _PORT, self._seed + number)
                self.relays[name] = await self._stack.enter_async_context(relay)
            self._stack.push_async_callback(self._end)
            await asyncio.gather(*map(self.start, GROUPS))
            await self.whole()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def start(self, name: str) -> None:
        """Start a node with its agents."""
        settings = {
            "url": f"nats://{self.machines.address('server')}:{_PORT + 1 + list(GROUPS).index(name)}",
            "cluster": self.name,
            "node": name,
            "hosts": HOSTS[name],
            "journal": str(self.journal.path),
            "targets": [agent for agent in AGENTS if not agent.startswith(GROUPS[name][0])],
        }
        program = [sys.executable, "-m", "tests.support.cluster.witness_node", json.dumps(settings)]
        process = await asyncio.create_subprocess_exec(
            *self.machines.command(name, program),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
        )
        node = self.nodes[name] = FarNode(process)
        await node.answer()
        group, count = GROUPS[name]
        await node.ask("spawn", group=group, count=count)

    async def kill(self, name: str) -> None:
        """Kill a node's process; its hosts end by themselves."""
        process = self.nodes[name].process
        process.kill()
        await process.wait()
        self._note_dead(name)

    async def kill_host(self, name: str) -> None:
        """Kill the process of a node's agents."""
        await self.signal_host(name, signal.SIGKILL)
        self._note_dead(name)

    async def signal_host(self, name: str, what: signal.Signals) -> None:
        os.kill(await self.nodes[name].ask("host_pid"), what)

    def _note_dead(self, name: str) -> None:
        self.died.update({agent: time.monotonic() for agent in AGENTS if agent.startswith(GROUPS[name][0])})

    async def whole(self) -> None:
        """Wait until every node can call every agent."""
        await asyncio.gather(*(node.ask("wait_for", names=AGENTS) for node in self.nodes.values()))

    async def letters(self, since: float) -> dict[str, int]:
        """Return agent -> how many dead letters of tells to it all nodes have, since a time."""
        found: Counter[str] = Counter()
        for node in self.nodes.values():
            found.update(await node.ask("letters", since=since))
        return found

    async def _end(self) -> None:
        for node in self.nodes.values():
            if node.process.returncode is None:
                node.process.send_signal(signal.SIGCONT)
                assert node.process.stdin is not None
                node.process.stdin.close()
        for node in self.nodes.values():
            try:
                await asyncio.wait_for(node.process.wait(), 20)
            except TimeoutError:
                node.process.kill()
                await node.process.wait()
