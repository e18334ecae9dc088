"""Connect a TCP socket to a name that may have many addresses (RFC 8305, "happy eyeballs").

uvloop tries one address after the other, so that a dead IPv6 route costs the whole time limit. asyncio before 3.13
leaks sockets when it is cancelled half-way.
"""

import asyncio
import socket
import struct
from itertools import chain, zip_longest
from typing import Any

_RTT = struct.Struct("@68xI")  # of Linux's `struct tcp_info`: microseconds of a round trip, smoothed
STAGGER = 0.25  # seconds before the next address is tried beside those that have not answered
Address = tuple[socket.AddressFamily, Any]


async def connect(host: str, port: int, local_address: str | None = None) -> socket.socket:
    """Connects to the first address that answers; OSError if none does. Cancellation leaves no socket open."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    waiting = _interleaved([(family, address) for family, _, _, _, address in found])
    attempts: set[asyncio.Task[socket.socket]] = set()
    winner: socket.socket | None = None
    failure: BaseException = OSError(f"{host} has no address")
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(loop.create_task(_attempt(loop, waiting.pop(0), local_address)))
            done, attempts = await asyncio.wait(
                attempts, timeout=STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                error = task.exception()
                if error is not None:
                    failure = error
                elif winner is None:
                    winner = task.result()
                else:
                    task.result().close()
            if winner is not None:
                return winner
        raise failure
    finally:
        try:
            await _cancel_attempts(attempts)
        except BaseException:
            if winner is not None:
                winner.close()
            raise


def round_trip(sock: socket.socket) -> float | None:
    """Returns the seconds of a round trip, as the kernel has measured; None where it does not say."""
    if not hasattr(socket, "TCP_INFO"):
        return None
    try:
        (found,) = _RTT.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size))
    except (OSError, struct.error):  # it is closed, or no TCP socket
        return None
    return float(found) / 1e6


async def _attempt(loop: asyncio.AbstractEventLoop, address: Address, local_address: str | None) -> socket.socket:
    sock = socket.socket(address[0], socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if local_address is not None:
            sock.bind((local_address, 0))
        await loop.sock_connect(sock, address[1])
    except BaseException:
        sock.close()
        raise
    return sock


async def _cancel_attempts(attempts: set[asyncio.Task[socket.socket]]) -> None:
    for task in attempts:
        task.cancel()
    if attempts:
        await asyncio.wait(attempts)
    for task in attempts:
        if not task.cancelled() and task.exception() is None:
            task.result().close()  # connected at the moment of cancellation


def _interleaved(addresses: list[Address]) -> list[Address]:
    """Alternates between the families, beginning with the resolver's first choice."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]
