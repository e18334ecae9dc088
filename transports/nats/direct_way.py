"""The direct way of messages through a client of nats-py: published and received in the turn of the loop that does it.

nats-py hands a message that it publishes from a list to a task that writes, and one that it receives through a queue to
a task of its subscription. Each takes a turn of the loop, and a task that is resumed: four of them for a question and
its answer at each side. Here a small message goes straight into the transport while nothing waits before it, and what
was read goes straight to its callback. Where the client is not as it is known here, all go its usual way.
"""

from collections.abc import Callable
from typing import Any

_MOST_BUFFERED = 64 * 1024  # bytes in the transport from which on messages wait in the queue, and the writer is told


class DirectWay:
    """The direct way through one client, which is connected. `failed(error)` is called with what a callback raises."""

    def __init__(self, client: Any, failed: Callable[[Exception], None]) -> None:
        self._client, self._failed = client, failed
        self._takers: dict[int, Callable[[bytes], None]] = {}
        self._usual = getattr(client, "_process_msg", None)
        stream = getattr(getattr(client, "_transport", None), "_io_writer", None)
        known = stream is not None and hasattr(client, "_pending_data_size")
        self._transport: Any = getattr(stream, "transport", None) if known else None
        if self._usual is not None:
            client._process_msg = self._arrived

    def takes(self, subscription: Any, callback: Callable[[bytes], None]) -> None:
        """Hand the messages of a subscription straight to a callback, from now on."""
        number = getattr(subscription, "_id", None)
        if number is not None:
            self._takers[number] = callback

    async def _arrived(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Take a message that was read; the client's parser calls this."""
        taker = self._takers.get(sid)
        if taker is None:
            assert self._usual is not None
            await self._usual(sid, subject, reply, data, headers)
            return
        try:
            taker(data)
        except Exception as error:  # noqa: BLE001  # it must not end the client's reading
            self._failed(error)

    def publish(self, subject: str, payload: bytes) -> bool:
        """Write a message; return False where others wait before it: it has to wait behind them."""
        transport = self._transport
        if transport is None or self._client._pending_data_size or transport.is_closing():
            return False
        if len(payload) > self._client.max_payload or transport.get_write_buffer_size() + len(payload) > _MOST_BUFFERED:
            return False
        transport.write(b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload))
        return True
