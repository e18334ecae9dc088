"""One connection to NATS, for processes that share it: bounded, never silent about its end, back by itself.

Needs nats-py, which is imported when a connection is opened.
"""

from transports.nats.connection import NatsConnection
from transports.nats.errors import NatsError, NatsRefused, NatsUnreachable, NoJetStream, OtherRevision
from transports.nats.key_values import KeyValues
from transports.nats.options import NatsOptions

__all__ = [
    "KeyValues",
    "NatsConnection",
    "NatsError",
    "NatsOptions",
    "NatsRefused",
    "NatsUnreachable",
    "NoJetStream",
    "OtherRevision",
]
