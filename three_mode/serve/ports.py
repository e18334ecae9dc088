"""Ports of an endpoint: what is said where one is taken, and how they are kept for workers that come and go."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from three_mode.errors import ConfigurationError
from three_mode.serve.options import ServeOptions


def address_of(options: ServeOptions) -> str:
    """The host to listen on: one address, also where a name has several."""
    return "127.0.0.1" if options.host == "localhost" else options.host


def cannot_listen(options: ServeOptions, place: int | str, error: OSError) -> ConfigurationError:
    """The error of a port, or of the path of a Unix socket, that is not to be had."""
    at = place if isinstance(place, str) else f"{options.host}:{place}"
    another = "--port" if place == options.port else "--grpc"
    return ConfigurationError(f"cannot listen on {at}: {error.strerror}", hint=f"choose another {another}")


@contextmanager
def kept_ports(options: ServeOptions) -> Iterator[None]:
    """Keeps the ports for workers of this user while the block runs, also while none of them listens.

    ConfigurationError where somebody listens there already: workers alone would not notice another endpoint's.
    """
    with ExitStack() as kept:
        for port in (options.port, options.grpc):
            if isinstance(port, int):
                try:
                    _keep(address_of(options), port, kept)
                except OSError as error:
                    raise cannot_listen(options, port, error) from None
        yield


def _keep(host: str, port: int, kept: ExitStack) -> None:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, number, _, address in found:
        for shared in (False, True):  # nobody has it, and then: it is ours, and the workers'
            place = socket.socket(family, kind, number)
            if shared:
                kept.callback(place.close)
                place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                place.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                place.bind(address)
            finally:
                if not shared:
                    place.close()
