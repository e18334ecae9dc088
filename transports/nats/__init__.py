"""One connection to NATS, for processes that share it: bounded, never silent about its end, back by itself.

Needs nats-py, which is imported when a connection is opened.
"""

from transports.nats.connection import NatsConnection
from transports.nats.errors import NatsError, NatsRefused, NatsUnreachable, NoJetStream, OtherRevision
from transports.nats.key_values import KeyValues
from transports.nats.options import NatsOptions
from transports.nats.server_info import NatsServerInfo

__all__ = [
    "KeyValues",
    "NatsConnection",
    "NatsError",
    "NatsOptions",
    "NatsRefused",
    "NatsServerInfo",
    "NatsUnreachable",
    "NoJetStream",
    "OtherRevision",
]
