"""Bus between processes: publish and subscribe, send, ask, and streams, over shared memory or ZeroMQ.

`BlockingBus` and `running_buses` are imported when they are first used: most members need neither.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from transports.bus.asking.calls import Asked, Call, StreamReader
from transports.bus.asking.requests import ReplyStream, Request
from transports.bus.asking.sending import Sent
from transports.bus.bus import Bus
from transports.bus.carrier import ReaderStatus
from transports.bus.choice import rings_available
from transports.bus.errors import (
    BadAddress,
    BadFrame,
    BusError,
    CallCancelled,
    Closed,
    DeadlineExceeded,
    Forked,
    JoinFailed,
    NameTaken,
    NoSuchBus,
    NoSuchName,
    NotEncodable,
    Overloaded,
    PeerLost,
    RemoteError,
    TooLarge,
    VersionMismatch,
)
from transports.bus.events import (
    DirectoryChange,
    Evicted,
    Gap,
    InBand,
    MemberInfo,
    MemberJoined,
    MemberLost,
    NamesChanged,
    WriterGone,
)
from transports.bus.frames import Encoded, Kind
from transports.bus.messages import Message
from transports.bus.name_rows import NameRows
from transports.bus.options import BusOptions, Curve, Policy, SubscribeOptions
from transports.bus.plain import is_plain as is_plain
from transports.bus.pubsub.listener import Listener
from transports.bus.pubsub.subscriptions import Subscription
from transports.bus.receipt import Receipt, Settled
from transports.bus.status import BusStatus
from transports.bus.topics import check_pattern, matches
from transports.bus.watching import Watch

if TYPE_CHECKING:
    from transports.bus.registry.election import running_buses as running_buses
    from transports.bus.sync import BlockingBus as BlockingBus

# Public names that are imported late -> their modules.
_LATE = {"BlockingBus": "transports.bus.sync", "running_buses": "transports.bus.registry.election"}

__all__ = [
    "Asked",
    "BadAddress",
    "BadFrame",
    "BlockingBus",
    "Bus",
    "BusError",
    "BusOptions",
    "BusStatus",
    "Call",
    "CallCancelled",
    "Closed",
    "Curve",
    "DeadlineExceeded",
    "DirectoryChange",
    "Encoded",
    "Evicted",
    "Forked",
    "Gap",
    "InBand",
    "JoinFailed",
    "Kind",
    "Listener",
    "MemberInfo",
    "MemberJoined",
    "MemberLost",
    "Message",
    "NameRows",
    "NameTaken",
    "NamesChanged",
    "NoSuchBus",
    "NoSuchName",
    "NotEncodable",
    "Overloaded",
    "PeerLost",
    "Policy",
    "ReaderStatus",
    "Receipt",
    "RemoteError",
    "ReplyStream",
    "Request",
    "Sent",
    "Settled",
    "StreamReader",
    "SubscribeOptions",
    "Subscription",
    "TooLarge",
    "VersionMismatch",
    "Watch",
    "WriterGone",
    "check_pattern",
    "is_plain",
    "matches",
    "rings_available",
    "running_buses",
]


def __getattr__(name: str) -> object:
    module = _LATE.get(name)
    if module is None:
        raise AttributeError(f"module 'transports.bus' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
