"""One connection to NATS, for processes that share it: bounded, never silent about its end, back by itself.

Needs nats-py, which is imported when a connection is opened.
"""

from transports.nats.connection import NatsConnection
from transports.nats.errors import NatsError, NatsRefused, NatsUnreachable
from transports.nats.options import NatsOptions

__all__ = ["NatsConnection", "NatsError", "NatsOptions", "NatsRefused", "NatsUnreachable"]
