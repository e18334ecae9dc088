"""Messages between nodes of a cluster: packets are read or refused by name, and a node survives all that it reads."""

import math
from typing import Any

from tests.fuzz.pieces import parts
from tests.fuzz.target import Target
from three_mode.cluster.core.actions import SendPacket
from three_mode.cluster.core.frames import BadPacket, encode, read_packet
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.timing import NodeTiming

TIMING = NodeTiming(heartbeat=1.0, suspected_after=2.0, lost_after=3.5, remembered=8.0, away=2.5)


def packets(data: bytes) -> None:
    """Packets that one node hears, one after another; what it sends is heard by another."""
    now = 0.0
    node = ClusterNode("a-1", "a", now, TIMING)
    other = ClusterNode("b-1", "b", now, TIMING)
    node.claim(["scout/0"])
    for part in parts(data):
        now += 0.1
        try:
            packet = read_packet(part)
        except BadPacket as error:
            assert str(error)
            continue
        written = encode(packet)
        assert encode(read_packet(written)) == written
        if packet.sender not in (node.id, ""):
            node.handle(now, packet)
        _hear(node, other, now)
    for _ in range(12):
        now += 1.0
        for each in (node, other):
            if each.next_tick <= now:
                each.tick(now)
        _hear(node, other, now)
        _hear(other, node, now)


def _hear(node: ClusterNode, other: ClusterNode, now: float) -> None:
    for action in node.take():
        if isinstance(action, SendPacket):
            packet: Any = read_packet(encode(action.packet))
            if packet.to in ("", other.id):
                other.handle(now, packet)
    assert not math.isnan(node.next_tick)


TARGETS = (Target(name="gateway_packets", run=packets, shape="bytes", lines=400_000, lines_a_byte=4_000),)
