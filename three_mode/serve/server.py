"""Run the application on this package's own server, in this process and loop: HTTP/1.1, HTTP/2, WebSockets, TLS."""

import asyncio
import logging
import resource
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from three_mode.errors import ConfigurationError, MissingExtra
from three_mode.serve.app import App
from three_mode.serve.asgi import Scope, Send
from three_mode.serve.options import UNIX, ServeOptions, Tls
from three_mode.serve.ports import address_of, cannot_listen
from three_mode.serve.watching import Receive
from transports.http2.server import Application, Server, ServerOptions

log = logging.getLogger("three_mode.serve")


@asynccontextmanager
async def serve(app: App) -> AsyncIterator[None]:
    """Listens while the block runs; then drains: says goodbye to idle clients, and lets what runs end."""
    if find_spec("wsproto") is None:
        raise MissingExtra.of("wsproto, which the WebSocket of `three-mode serve` needs,", "serve")
    servers = [Server(app, _server_options(app.options))]
    if app.options.grpc is not None:
        import_module("three_mode.grpc_messages.pool")  # MissingExtra where protobuf is not installed
        servers.append(Server(_begun_already(app), _grpc_options(app.options)))
    for place, server in enumerate(servers):
        try:
            await server.start()
        except OSError as error:
            for started in servers[:place]:
                await started.close()
            raise cannot_listen(app.options, server.options.path or server.options.port, error) from None
    try:
        yield
        for server in servers:
            if server.options.reuse_port:
                server.stop_listening()  # other workers take what comes
            server.retire()
        if not await app.drain():
            log.warning("requests still ran after %s s of draining and were cut off", app.options.drain_within)
    finally:
        app.cut_off()
        for server in reversed(servers):  # the first one ends the application
            await server.close()


def _begun_already(app: App) -> Application:
    """The application for a second server: the first has told it of the start, and tells it of the end."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)

    return answer


async def until_signalled() -> None:
    """Returns on the first SIGTERM or SIGINT."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    try:
        await signalled.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _server_options(options: ServeOptions) -> ServerOptions:
    return ServerOptions(
        host=address_of(options),
        port=options.port,
        reuse_port=options.reuse_port,
        ssl_context=tls_context(options.tls) if options.tls else None,
        connections=_most_connections(options),
        websocket_message_bytes=1 << 16,  # of what a reader of events sends, nothing is read
    )


def _grpc_options(options: ServeOptions) -> ServerOptions:
    """The same limits on another port, or on a Unix socket, which needs no TLS."""
    same = _server_options(options)
    if isinstance(options.grpc, int):
        return replace(same, port=options.grpc)
    return replace(same, path=(options.grpc or "").removeprefix(UNIX), ssl_context=None)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """The certificate and its key, loaded; ConfigurationError where they do not fit."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(
            f"{tls.certificate} and {tls.key} are no certificate with its key: {error}",
            hint="both are PEM files, the key without a password",
        ) from None
    return context


def _most_connections(options: ServeOptions) -> int:
    """Half of the files that this process may have open are left for everything else."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = options.max_connections
    return wanted if files == resource.RLIM_INFINITY else min(wanted, max(1, files // 2))
