"""A member as the ZeroMQ carrier sees it, and a published message of it as the bus wants it."""

from collections.abc import Mapping
from typing import Any, Protocol

from transports.bus.carrier import Peer
from transports.bus.events import MemberInfo
from transports.bus.messages import Message
from transports.bus.zeromq import wire
from transports.bus.zeromq.history import Published
from transports.bus.zeromq.inbound import Inbound


class ZmqPeer(Peer):
    __slots__ = ("endpoints", "inbound", "queries")

    def __init__(self, info: MemberInfo, endpoints: dict[str, str]) -> None:
        super().__init__(info)
        self.endpoints = endpoints
        self.inbound: Inbound[Published] | None = None  # None: not listened to yet
        self.queries: list[tuple[int, int]] = []  # (seq, token) that it asked about


class SendToPeer(Protocol):
    """To one member, beside what is published. False: its queue is full, or it is this member itself."""

    def __call__(self, peer: ZmqPeer, head: wire.Head, /, *more: bytes) -> bool: ...


def message(peer: ZmqPeer, item: Published, topic: str, routes: Mapping[str, Any]) -> Message:
    return Message(item.flags, peer, item.seq, routes.get(topic), topic, item.envelope, item.body)
