"""Access over tcp: CURVE keys say who may join; beyond this machine, nobody may without keys."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

import zmq
from zmq.auth.thread import ThreadAuthenticator

from transports.bus.errors import JoinFailed
from transports.bus.options import BusOptions, Curve


class AllowedKeys:
    """Credentials provider of ZeroMQ's authentication: the CURVE keys that may join."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = {key.encode() for key in allowed}

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a key may join."""
        return key in self._allowed


def authenticate(context: "zmq.Context[Any]", curve: Curve | None) -> ThreadAuthenticator | None:
    """Admit only the allowed keys; without a list of them, each client that knows the server's public key."""
    if curve is None or curve.allowed is None:
        return None
    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback(domain="*", credentials_provider=AllowedKeys(curve.allowed))
    return authenticator


def check_endpoint(options: BusOptions) -> None:
    """Raise JoinFailed for an endpoint that is not well formed, or that lies beyond this machine without keys."""
    parts = urlsplit(options.endpoint)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port:
        raise JoinFailed(f"an endpoint is tcp://HOST:PORT; got {options.endpoint!r}")
    hosts = {parts.hostname, options.bind_host or "127.0.0.1"}
    if options.curve is None and not all(_is_loopback(host) for host in hosts):
        raise JoinFailed(
            f"{options.endpoint} is not loopback: give BusOptions.curve, so that strangers cannot join or listen"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
