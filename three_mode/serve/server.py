"""Runs the application on granian, in this process and loop: HTTP/2 and HTTP/1.1, TLS, WebSockets, drain on SIGTERM."""

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from three_mode.errors import ConfigurationError, MissingExtra
from three_mode.serve.app import App
from three_mode.serve.options import ServeOptions

log = logging.getLogger("three_mode.serve")

WAITING_CONNECTIONS = 1024  # that the kernel holds until they are taken
# Connections for each request that may run: a client keeps some that are idle, and they count too.
CONNECTIONS_A_REQUEST = 4


@asynccontextmanager
async def serve(app: App) -> AsyncIterator[None]:
    """Listens while the block runs; then drains."""
    _check_free(app.options)
    server = _granian(app)
    listening = asyncio.create_task(server.serve(), name="three-mode serve")
    try:
        await _answers(app, listening)
        yield
        if not await app.drain():
            log.warning("requests still ran after %s s of draining and were cut off", app.options.drain_within)
    finally:
        app.cut_off()
        server.stop()
        await asyncio.gather(listening, return_exceptions=True)


async def until_signalled() -> None:
    """Returns on the first SIGTERM or SIGINT."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    try:
        await told.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _check_free(options: ServeOptions) -> None:
    """The server below would share a port with whoever has it, or lose it in silence, and clients would reach the other one."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {options.host}:{options.port}: {error.strerror}", hint="choose another --port"
        ) from None


def _granian(app: App) -> Any:
    try:
        from granian.constants import HTTPModes, Interfaces
        from granian.http import HTTP1Settings, HTTP2Settings
        from granian.server.embed import Server
    except ImportError:
        raise MissingExtra.of("granian, which `three-mode serve` runs on,", "serve") from None
    options = app.options
    return Server(
        app,
        address="127.0.0.1" if options.host == "localhost" else options.host,
        port=options.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        backlog=WAITING_CONNECTIONS,
        backpressure=_most_connections(options),
        log_enabled=False,
        http1_settings=HTTP1Settings(max_buffer_size=1 << 16, header_read_timeout=10_000),
        http2_settings=HTTP2Settings(max_headers_size=1 << 16, max_concurrent_streams=256),
        ssl_cert=options.tls.certificate if options.tls else None,
        ssl_key=options.tls.key if options.tls else None,
    )


def _most_connections(options: ServeOptions) -> int:
    """Beyond them the server takes none until one closes, and says nothing: so requests must reach their own limit, which does, first.
    Half of the files that this process may have open are left for everything else."""
    wanted = CONNECTIONS_A_REQUEST * options.max_in_flight + options.max_event_readers
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else min(wanted, max(1, files // 2))


async def _answers(app: App, listening: "asyncio.Task[None]") -> None:
    """Ready means that a connection was taken, not that a task was started."""
    host = "127.0.0.1" if app.options.host in ("localhost", "0.0.0.0") else app.options.host  # noqa: S104
    for _ in range(200):
        if listening.done():
            listening.result()
            break
        try:
            _, writer = await asyncio.open_connection(host, app.options.port)
        except OSError:
            await asyncio.sleep(0.025)
            continue
        writer.close()
        return
    raise ConfigurationError(f"cannot listen on {app.options.host}:{app.options.port}", hint="choose another --port")
