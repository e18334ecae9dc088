"""A connection to NATS: publish at once or not at all, subscriptions whose losses are told, reconnection for ever.

Nothing is published while there is no connection: a message that waited for a server would come with a deadline that
passed long ago.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from transports.nats.direct_way import DirectWay
from transports.nats.errors import NatsError, NatsRefused, NatsUnreachable
from transports.nats.options import NatsOptions
from transports.nats.server_info import NatsServerInfo

_REFUSALS = ("authorization violation", "authentication", "user authentication", "permissions violation", "nkey")
_AGAIN = 0.25  # seconds between attempts to reach the server again
_LEAVE_WITHIN = 2.0  # seconds for what is queued when the connection is closed


class NatsConnection:
    """One connection. `failed(error)` is called with errors that no caller waits for, `changed(connected)` when the
    connection is lost, and when it is back."""

    def __init__(
        self,
        options: NatsOptions,
        failed: Callable[[Exception], None] = lambda error: None,
        changed: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        self.options, self._failed, self._changed = options, failed, changed
        self._client: Any = None
        self._direct_way: DirectWay | None = None
        self._subscriptions: list[tuple[str, Callable[[bytes], None]]] = []
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued = 0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = self._opening_again = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None and bool(self._client.is_connected)

    @property
    def max_payload(self) -> int:
        """Bytes of one message that the server takes."""
        return int(self._client.max_payload)

    @property
    def client(self) -> Any:
        """The client of nats-py that has the connection now, another one after each loss; None where there is none."""
        return self._client if self.connected else None

    @property
    def server(self) -> NatsServerInfo:
        """What the server says of itself."""
        said = self._client._server_info
        return NatsServerInfo(
            str(said.get("version", "")),
            int(said.get("max_payload", 0)),
            bool(said.get("jetstream", False)),
            bool(said.get("tls_required", False) or self.options.servers[0].startswith("tls")),
        )

    async def round_trip(self, within: float = 2.0) -> float:
        """Return the seconds until the server answers a ping; NatsError where it does not in time."""
        begun = asyncio.get_running_loop().time()
        try:
            await self._client.flush(timeout=max(1, round(within)))
        except _caught() as error:
            raise self._error(error) from None
        return asyncio.get_running_loop().time() - begun

    # opening and closing ----------------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Connect; ModuleNotFoundError where nats-py is not installed, NatsUnreachable, NatsRefused, or NatsError."""
        servers, settings = self.options.servers, self._settings()
        await self._connect(servers, settings)
        self._start(self._write())
        self._start(self._watch())

    async def _connect(self, servers: list[str], settings: dict[str, Any]) -> None:
        import nats.aio.client as nats

        client = nats.Client()
        failed = asyncio.get_running_loop().create_future()
        errors: list[Exception] = []

        async def error(error: Exception) -> None:
            errors.append(error)
            if failed.done():
                self._failed(error)
            elif _refused(error) or len(errors) >= len(servers):
                failed.set_exception(error)

        opening = asyncio.ensure_future(client.connect(servers, error_cb=error, closed_cb=self._closed, **settings))
        try:
            async with asyncio.timeout(self.options.connect_within):
                await asyncio.wait({opening, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done() and not opening.done():
                raise failed.exception() or NatsError("the connection failed")
            await opening
        except _caught() as problem:
            raise self._error(errors[0] if errors else problem) from None
        finally:
            if not failed.done():
                failed.set_result(None)
            failed.exception()
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening})
            if opening.cancelled() or opening.exception() is not None:
                await _close(client)
        self._client, self._direct_way = client, DirectWay(client, self._failed)

    def _settings(self) -> dict[str, Any]:
        """Return the settings of nats-py; NatsError for a file that cannot be read."""
        options = self.options
        settings: dict[str, Any] = {
            "allow_reconnect": False,  # `_open_again` does: with the files as they are then, and without leaks
            "reconnect_time_wait": _AGAIN,
            "connect_timeout": options.connect_within,
            "ping_interval": options.ping,
            "max_outstanding_pings": 2,
        }
        for path in (options.ca, options.certificate, options.key, options.credentials, options.nkey, options.token):
            if path:
                try:
                    Path(path).open("rb").close()
                except OSError as error:
                    raise NatsError(f"{path} cannot be read: {error.strerror}") from None
        if options.credentials:
            settings["user_credentials"] = options.credentials
        if options.nkey:
            settings["nkeys_seed"] = options.nkey
        if options.token:
            settings["token"] = Path(options.token).read_text().strip()
        if options.ca or options.certificate or any(url.startswith("tls") for url in options.servers):
            try:
                settings["tls"] = context = ssl.create_default_context(cafile=options.ca or None)
                if options.certificate:
                    context.load_cert_chain(options.certificate, options.key or None)
            except ssl.SSLError as error:
                raise NatsError(f"the certificates of this side cannot be used: {error}") from None
        return settings

    def _error(self, error: Exception) -> NatsError:
        where, text = self.options.shown, str(error).removeprefix("nats: ").strip("'") or type(error).__name__
        if _refused(error):
            return NatsRefused(f"{where} refused this connection: {text}")
        return NatsUnreachable(f"no NATS server answers at {where}: {text}")

    async def close(self) -> None:
        """Send what is queued, then close."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:  # one of them takes from the same queue
            await asyncio.wait(self._tasks)
        client, self._client = self._client, None
        try:
            if client is not None and client.is_connected:
                async with asyncio.timeout(_LEAVE_WITHIN):
                    while self._queue:
                        await client.publish(*self._queue.popleft())
                    await client.flush(timeout=1)
        except _caught():
            pass  # the others notice by its silence
        finally:
            if client is not None:
                await _close(client)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what nats-py reports ---------------------------------------------------------------------------------------------
    async def _closed(self) -> None:
        """Connect anew: the connection was lost."""
        if self._client is None or self._closing:
            return
        self._client = None
        if not self._opening_again:
            self._opening_again = True
            self._changed(False)
            self._start(self._open_again())

    async def _watch(self) -> None:
        """Notice a connection that is lost and cannot be closed: its server has stopped reading."""
        while True:
            await asyncio.sleep(self.options.ping)
            if self._client is not None and not self._client.is_connected:
                await self._closed()

    async def _open_again(self) -> None:
        while not self._closing:
            await asyncio.sleep(_AGAIN)
            try:
                await self._connect(self.options.servers, self._settings())
                for subject, callback in self._subscriptions:
                    await self._subscribe(subject, callback)
            except NatsError as error:
                self._failed(error)
            except _caught() as error:
                self._failed(error)
            if self.connected:
                self._opening_again = False
                self._changed(True)
                return

    # messages ---------------------------------------------------------------------------------------------------------
    async def subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Call `callback(payload)` for each message to a subject, in order."""
        self._subscriptions.append((subject, callback))
        await self._subscribe(subject, callback)
        await self._client.flush(timeout=max(1, round(self.options.connect_within)))

    async def _subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        async def arrived(message: Any) -> None:
            callback(message.data)

        took: Callable[[Any], Awaitable[None]] = arrived
        options = self.options
        made = await self._client.subscribe(
            subject, cb=took, pending_msgs_limit=options.inbox_messages, pending_bytes_limit=options.inbox_bytes
        )
        if self._direct_way is not None:
            self._direct_way.takes(made, callback)

    def publish(self, subject: str, payload: bytes) -> bool:
        """Send a message; False where it is dropped: there is no connection, or too much waits already."""
        if not self.connected or self._queued + len(payload) > self.options.queue_bytes:
            return False
        if not self._queue and self._direct_way is not None and self._direct_way.publish(subject, payload):
            return True
        self._queue.append((subject, payload))
        self._queued += len(payload)
        self._wake.set()
        return True

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                await self._send_one()

    async def _send_one(self) -> None:
        subject, payload = self._queue.popleft()
        self._queued -= len(payload)
        if not self.connected:
            return
        try:
            await self._client.publish(subject, payload)
        except _caught() as error:
            self._failed(error)


async def _close(client: Any) -> None:
    try:
        async with asyncio.timeout(_LEAVE_WITHIN):
            await client.close()
    except _caught():
        pass  # its server has stopped reading


def _caught() -> tuple[type[Exception], ...]:
    """Return what nats-py raises, which is imported late."""
    from nats.errors import Error

    return (TimeoutError, OSError, Error)  # an SSLError is an OSError


def _refused(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, ssl.SSLError) or any(word in text for word in _REFUSALS)
