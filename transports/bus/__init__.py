"""The bus: processes of one machine (or a few) that publish, send and ask each other at the speed of memory."""

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
from transports.bus.options import BusOptions, Curve, Policy, SubscribeOptions
from transports.bus.pubsub.listener import Listener
from transports.bus.pubsub.subscriptions import Subscription
from transports.bus.receipt import Receipt, Settled
from transports.bus.status import BusStatus
from transports.bus.topics import matches
from transports.bus.watching import Watch

__all__ = [
    "Asked",
    "BadAddress",
    "BadFrame",
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
    "matches",
    "rings_available",
]
