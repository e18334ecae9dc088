"""HTTP/2 side of the scripted provider, on h2, over TLS or with prior knowledge."""

import asyncio
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    PingAckReceived,
    PingReceived,
    RequestReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from three_mode.testing.player import Gone, ServingProvider
from three_mode.testing.script import Header, Seen


class H2Server(asyncio.Protocol):
    """One HTTP/2 connection."""

    def __init__(self, provider: ServingProvider, number: int) -> None:
        self.provider = provider
        self.number = number
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.transport: asyncio.Transport | None = None
        self.streams: dict[int, H2Stream] = {}
        self.budget: int | None = None
        self.pings = 0  # from the client
        self.ping_acks = 0
        self.windows = 0  # bytes given back on the connection
        self._silent = False
        self.terminated_with: int | None = None  # the code of the client's GOAWAY

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        behaviour = self.provider.behaviour
        settings = {
            SettingCodes.MAX_CONCURRENT_STREAMS: behaviour.max_streams,
            SettingCodes.MAX_HEADER_LIST_SIZE: 65_536,
        }
        if behaviour.window is not None:
            settings[SettingCodes.INITIAL_WINDOW_SIZE] = behaviour.window
        # Valid from the first frame; update_settings() would send h2's own defaults first.
        self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(2**24)
        self.provider.connected(self, cast("asyncio.Transport", transport))
        if behaviour.settings_delay:
            self._silent = True
            asyncio.get_running_loop().call_later(behaviour.settings_delay, self._end_silence)
        else:
            self.flush()

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            return
        try:
            events = self.h2.receive_data(data)
        except H2Error as error:
            self.provider.complaints.append(f"{type(error).__name__}: {error}")
            self.flush()
            self.cut()
            return
        for event in events:
            self._handle(event)
        self.flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self.streams[event.stream_id] = H2Stream(self, event)
        elif isinstance(event, DataReceived):
            stream = self.streams.get(event.stream_id)
            if stream is not None:
                stream.body.append(event.data)
            if self.provider.behaviour.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            if event.stream_id in self.streams:
                self.streams[event.stream_id].answer()
        elif isinstance(event, StreamReset):
            stream = self.streams.pop(event.stream_id, None)
            if stream is not None:
                stream.was_reset(int(event.error_code))
        elif isinstance(event, WindowUpdated):
            if event.stream_id == 0:
                self.windows += event.delta
            self._wake_all()
        elif isinstance(event, SettingsAcknowledged):
            self._wake_all()
        elif isinstance(event, PingReceived):
            self.pings += 1
        elif isinstance(event, PingAckReceived):
            self.ping_acks += 1
        elif isinstance(event, ConnectionTerminated):
            self.terminated_with = int(event.error_code or 0)

    def _wake_all(self) -> None:
        for stream in self.streams.values():
            stream.window.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        for stream in list(self.streams.values()):
            stream.was_reset(None)
        self.streams.clear()
        self.provider.disconnected(self)

    # --- actions of tests on a connection ---

    def _end_silence(self) -> None:
        self._silent = False
        self.flush()

    def flush(self) -> None:
        """Sends the bytes that h2 has ready."""
        if self._silent:
            return
        data = self.h2.data_to_send()
        if data and (self.provider.behaviour.answers_pings or not _only_ping_ack(data)):
            self.write(data)

    def write(self, data: bytes) -> None:
        """Sends raw bytes, for example malformed frames."""
        if self.transport is None:
            return
        if self.budget is not None:
            data, self.budget = data[: self.budget], self.budget - len(data)
        self.transport.write(data)
        if self.budget is not None and self.budget <= 0:
            self.cut()

    def cut(self) -> None:
        """Closes the connection at once."""
        if self.transport is not None:
            self.transport.close()
            self.transport = None

    def change_settings(self, settings: dict[SettingCodes | int, int]) -> None:
        """Sends new SETTINGS."""
        self.h2.update_settings(settings)
        self.flush()

    def ping(self) -> None:
        """Sends a PING."""
        self.h2.ping(b"scripted")
        self.flush()

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """Sends a graceful GOAWAY; h2's own would end the connection and its streams."""
        frame = GoAwayFrame(0)
        frame.last_stream_id = last_stream_id
        frame.error_code = code
        frame.additional_data = debug
        self.flush()
        self.write(frame.serialize())


class H2Stream:
    """One stream; it is the `Wire` of its response."""

    def __init__(self, server: H2Server, event: RequestReceived) -> None:
        self.id = event.stream_id
        self.body: list[bytes] = []
        self.window = asyncio.Event()
        self._server = server
        self._headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        self._seen: Seen | None = None
        self._task: asyncio.Task[None] | None = None

    def answer(self) -> None:
        """Answers the request, which is complete."""
        fields = dict(self._headers)
        self._seen = self._server.provider.saw(
            method=fields[b":method"].decode(),
            path=fields[b":path"].decode(),
            headers=self._headers,
            http_version="HTTP/2",
            connection=self._server.number,
            stream=self.id,
            body=b"".join(self.body),
        )
        self._task = self._server.provider.start(self._play(self._seen))

    async def _play(self, seen: Seen) -> None:
        try:
            await self._server.provider.play(seen, self)
        except Gone:
            pass
        else:
            seen.finished = True
        self._seen = None
        self._server.streams.pop(self.id, None)

    def was_reset(self, code: int | None) -> None:
        """Handles the end of the stream by the client; `code` is that of its RST_STREAM."""
        if self._seen is not None:
            self._server.provider.cancelled(self._seen, code)
        if self._task is not None:
            self._task.cancel()

    # --- Wire ---

    def limit_bytes(self, count: int) -> None:
        self._server.budget = count

    async def head(self, status: int, headers: list[Header], *, streamed: bool, ends: bool) -> None:
        self._server.h2.send_headers(self.id, [(b":status", b"%d" % status), *headers], end_stream=ends)
        self._server.flush()
        self._check()

    async def data(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            window = min(self._server.h2.local_flow_control_window(self.id), self._server.h2.max_outbound_frame_size)
            if window <= 0:
                self.window.clear()
                await self.window.wait()
                continue
            self._server.h2.send_data(self.id, bytes(left[:window]))
            left = left[window:]
            self._server.flush()
            self._check()

    async def end(self, trailers: tuple[Header, ...]) -> None:
        if trailers:
            self._server.h2.send_headers(self.id, trailers, end_stream=True)
        else:
            self._server.h2.end_stream(self.id)
        self._server.flush()
        self._check()

    def cut(self) -> None:
        self._server.cut()

    def reset(self, code: int) -> None:
        self._server.h2.reset_stream(self.id, ErrorCodes(code))
        self._server.flush()

    def goaway(self, *, processed: bool, code: int) -> None:
        self._server.goaway(self.id if processed else max(0, self.id - 2), code)

    def _check(self) -> None:
        if self._server.transport is None:
            raise Gone


def _only_ping_ack(data: bytes) -> bool:
    return len(data) == 17 and data[3] == 6
