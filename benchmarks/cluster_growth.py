"""What a node of a cluster pays for each further node: its pure core among simulated nodes, in virtual time."""

import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.harness import Benchmark, Context, Row
from three_mode.cluster.core.actions import NamesShown, PeerChanged, SendPacket
from three_mode.cluster.core.claims import Claims
from three_mode.cluster.core.frames import Surroundings, encode, read_packet
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.timing import NodeTiming
from transports.bus import NameRows

SIZES, QUICK = (10, 50, 100, 300, 1000), (10, 50)
AGENTS = 100  # of each node
STEADY = 4.0  # virtual seconds that are measured
STEP = 0.01  # virtual seconds that a packet takes
US = "three-mode"
CPU = "processor time of a second: the core of one node"
RECEIVED, PACKETS = "bytes that a node receives in a second", "packets that a node receives in a second"
MEET_CPU, MEMORY = "processor time to get to know all nodes and names", "memory of the names of all nodes, at one"
LOST = "from the last sign of life of a node until it is lost"


@dataclass
class Watched:
    """The one node that hears all others, and what it took."""

    core: ClusterNode
    cpu: float = 0.0
    received: int = 0
    packets: int = 0
    names: int = 0
    states: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Node -> its last change of state, and when."""

    def hear(self, now: float, raw: bytes) -> None:
        started = time.thread_time()
        self.core.handle(now, read_packet(raw))
        self.cpu += time.thread_time() - started
        self.received += len(raw)
        self.packets += 1

    def act(self, now: float) -> list[SendPacket]:
        """Ticks where it is time; returns what it sends."""
        started = time.thread_time()
        if now >= self.core.next_tick:
            self.core.tick(now)
        actions = self.core.take()
        self.cpu += time.thread_time() - started
        for action in actions:
            if isinstance(action, PeerChanged):
                self.states[action.node] = action.state, now
            elif isinstance(action, NamesShown):
                self.names += len(action.names)
        return [action for action in actions if isinstance(action, SendPacket)]


class Crowd:
    """All nodes. Each is a real core that beats and answers; one hears what all say to all."""

    def __init__(self, size: int) -> None:
        self.now, self.timing = 0.0, NodeTiming()
        self.others = {f"node-{number}": self._node(number) for number in range(1, size)}
        self.watched = Watched(self._node(0))

    def _node(self, number: int) -> ClusterNode:
        node = ClusterNode(f"node-{number}", f"machine-{number}", self.timing.heartbeat * number / 1000, self.timing)
        node.claim(f"group{number}/{agent}" for agent in range(AGENTS))
        node.surround(Surroundings(("helper",), {f"group{number}": ("news.*",)}))
        return node

    def run(self, until: float) -> None:
        """Lets time pass."""
        while self.now < until:
            self.now += STEP
            for other in self.others.values():
                if self.now >= other.next_tick:
                    other.tick(self.now)
                for action in other.take():
                    if isinstance(action, SendPacket) and action.packet.to in ("", self.watched.core.id):
                        self.watched.hear(self.now, encode(action.packet))
            for action in self.watched.act(self.now):
                other_one = self.others.get(action.packet.to)
                if other_one is not None:
                    other_one.handle(self.now, action.packet)


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    for size in QUICK if context.quick else SIZES:
        context.progress(f"{size} nodes")
        crowd = Crowd(size)
        watched, expected = crowd.watched, (size - 1) * AGENTS
        while watched.names < expected:
            crowd.run(crowd.now + 0.25)
        memory, meeting = names_size(watched.core), watched.cpu
        watched.cpu, watched.received, watched.packets = 0.0, 0, 0
        crowd.run(crowd.now + STEADY)
        figures = {
            CPU: (1e3 * watched.cpu / STEADY, "ms"),
            RECEIVED: (watched.received / STEADY / 1024, "KiB"),
            PACKETS: (watched.packets / STEADY, "packets"),
            MEET_CPU: (1e3 * meeting, "ms"),
            MEMORY: (memory / 2**20, "MiB"),
            LOST: (_lose(crowd), "s"),
        }
        for what, (figure, unit) in figures.items():
            yield Row(
                case=f"{size} nodes: {what}", subject=US, unit=unit, samples=[max(figure, 0.0)], curve=what, at=size
            )


def names_size(core: ClusterNode) -> int:
    """Bytes of what a node keeps of the names of others, as `tracemalloc` counts them while they are made anew."""
    views = {node: list(view.claims.values()) for node, view in core.names.items()}
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [Claims(claims) for claims in views.values()]
        owners: NameRows[str] = NameRows()
        for node, claims in views.items():
            owners.put([claim.name for claim in claims], node)
        after, _ = tracemalloc.get_traced_memory()
        assert sum(map(len, kept)) == len(owners)
    finally:
        tracemalloc.stop()
    return after - before


def _lose(crowd: Crowd) -> float:
    """Seconds from the last heartbeat of a node until the watched one takes it for lost."""
    node = next(iter(crowd.others))
    del crowd.others[node]
    heard = next(peer.heard for peer in crowd.watched.core.nodes() if peer.id == node)
    while crowd.watched.states.get(node, ("",))[0] != "lost":
        crowd.run(crowd.now + STEP)
    return crowd.watched.states[node][1] - heard


BENCHMARK = Benchmark(
    summary="what a node's core pays among 10 to 1,000 nodes: processor time, bytes, memory, time to know a lost one",
    run=run,
    notes=(
        f"Virtual time, heartbeats of the default options, {AGENTS} agents a node, all packets in bytes. One node "
        "hears all others, each of which is a real core that beats and answers. What nats-py and the kernel take for a "
        "packet comes on top; see cluster_ask."
    ),
)
