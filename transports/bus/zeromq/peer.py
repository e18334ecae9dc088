"""Peers of the ZeroMQ carrier, and the Message for what a peer published."""

from collections.abc import Mapping
from typing import Any, Protocol

from transports.bus.carrier import Peer
from transports.bus.events import MemberInfo
from transports.bus.messages import Message
from transports.bus.zeromq import wire
from transports.bus.zeromq.history import Published
from transports.bus.zeromq.inbound import Inbound


class ZmqPeer(Peer):
    """A member, with its endpoints and the order of its messages."""

    __slots__ = ("endpoints", "inbound", "queries", "silent")

    def __init__(self, info: MemberInfo, endpoints: dict[str, str]) -> None:
        super().__init__(info)
        self.endpoints = endpoints
        self.inbound: Inbound[Published] | None = None  # None: not read yet
        self.silent = False  # it did not answer a probe in time: it is read from the first message that comes
        self.queries: list[tuple[int, int]] = []  # (seq, token) of its queries without an answer


class SendToPeer(Protocol):
    """Sends to one member, beside what is published. False: its queue is full, or it is this member itself."""

    def __call__(self, peer: ZmqPeer, head: wire.Head, /, *more: bytes) -> bool: ...


def message_of(peer: ZmqPeer, item: Published, topic: str, routes: Mapping[str, Any]) -> Message:
    """Make the Message for an item that a peer published."""
    return Message(item.flags, peer, item.seq, routes.get(topic), topic, item.envelope, item.body)
