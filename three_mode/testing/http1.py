"""HTTP/1.1 side of the scripted provider, on h11."""

import asyncio
from typing import cast

import h11

from three_mode.testing.player import Gone, ServingProvider
from three_mode.testing.script import Header, Seen


class H1Server(asyncio.Protocol):
    """One HTTP/1.1 connection; it is the `Wire` of its responses."""

    def __init__(self, provider: ServingProvider, number: int) -> None:
        self._provider = provider
        self._number = number
        self._h11 = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport | None = None
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._seen: Seen | None = None
        self._task: asyncio.Task[None] | None = None
        self._budget: int | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._provider.connected(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        try:
            self._h11.receive_data(data)
            self._read()
        except h11.RemoteProtocolError as error:
            self._provider.complaints.append(str(error))
            self.cut()

    def _read(self) -> None:
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._request, self._body = event, []
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            elif isinstance(event, h11.ConnectionClosed):
                return

    def _answer(self) -> None:
        request = self._request
        assert request is not None
        self._seen = seen = self._provider.saw(
            method=request.method.decode(),
            path=request.target.decode(),
            headers=[(name, value) for name, value in request.headers],
            http_version="HTTP/1.1",
            connection=self._number,
            stream=0,
            body=b"".join(self._body),
        )
        self._task = self._provider.start(self._play(seen))

    async def _play(self, seen: Seen) -> None:
        try:
            await self._provider.play(seen, self)
        except Gone:
            return
        seen.finished = True
        self._seen = None
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._read()
        else:
            self.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._provider.disconnected(self)
        if self._seen is not None:
            self._provider.cancelled(self._seen, None)
            if self._task is not None:
                self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # --- Wire ---

    def limit_bytes(self, count: int) -> None:
        self._budget = count

    async def head(self, status: int, headers: list[Header], *, streamed: bool, ends: bool) -> None:
        if streamed:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        self._send(h11.Response(status_code=status, headers=headers, reason=b"Scripted"))

    async def data(self, data: bytes) -> None:
        self._send(h11.Data(data=data))
        await self._writable.wait()

    async def end(self, trailers: tuple[Header, ...]) -> None:
        self._send(h11.EndOfMessage(headers=list(trailers)))

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def reset(self, code: int) -> None:
        self.cut()

    def goaway(self, *, processed: bool, code: int) -> None:
        self.cut()

    def write(self, data: bytes) -> None:
        """Sends raw bytes, for example a malformed response."""
        if self._transport is None:
            raise Gone
        if self._budget is not None:
            data, self._budget = data[: self._budget], self._budget - len(data)
        self._transport.write(data)
        if self._budget is not None and self._budget <= 0:
            self.cut()
            raise Gone

    def _send(self, event: h11.Event) -> None:
        data = self._h11.send(event)
        if data:
            self.write(data)
