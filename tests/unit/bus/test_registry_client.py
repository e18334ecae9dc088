"""Answers that nobody takes, and messages that come with the end: nothing is lost, and no descriptor is left open."""

import asyncio
import os
import socket

import pytest

from transports.bus.registry import wire
from transports.bus.registry.channel import UnixChannel
from transports.bus.registry.client import RegistryClient


async def test_answer_and_cancellation_in_one_turn() -> None:
    ours, theirs = socket.socketpair()
    client = RegistryClient(UnixChannel(ours), lambda *_: None, lambda _: None)
    token, future = client.token()
    waiting = asyncio.create_task(client.answer(token, future, 5.0))
    await asyncio.sleep(0.01)
    fd = os.memfd_create("answer")
    future.set_result([fd])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    client.close()
    theirs.close()


async def test_what_came_before_the_connection_broke_is_handled() -> None:
    """A ring that a registry handed over in its last moment is read, also by a member that finds out by sending."""
    ours, theirs = socket.socketpair()
    seen: list[wire.FromRegistry | str] = []
    client = RegistryClient(UnixChannel(ours), lambda message, _: seen.append(message), seen.append)
    theirs.send(wire.pack(wire.Unlinked("@aaaa", 7)))
    theirs.close()
    client.send(wire.Sync(1))
    await asyncio.sleep(0.05)
    assert [type(item) for item in seen] == [wire.Unlinked, str]
    assert client.closed
