"""An answer whose caller gives up in the turn that brings it: its descriptors are closed."""

import asyncio
import os
import socket

import pytest

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
