"""Bridge between a client library (httpx or httpx2) and the pool: requests, responses, exceptions.

The two libraries have the same interface. A library calls its transport with a request of its own type, and expects a
response and exceptions of its own types. All translation is in this file; the pool knows no library.
"""

import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import Any

from transports.http2 import errors
from transports.http2.options import PoolOptions
from transports.http2.pool import Pool
from transports.http2.request import DEFAULT_PORTS, Origin, Request, Timeouts
from transports.http2.response import Response

# Our errors to the names of the library's exceptions. The first listed base class counts.
NAMES: dict[type[errors.TransportError], str] = {
    errors.UnsupportedScheme: "UnsupportedProtocol",
    errors.InvalidRequest: "LocalProtocolError",
    errors.PoolClosed: "LocalProtocolError",
    errors.PoolFull: "PoolTimeout",
    errors.ProxyFailed: "ProxyError",
    errors.ConnectFailed: "ConnectError",
    errors.ConnectionLost: "ReadError",
    errors.StreamReset: "RemoteProtocolError",
    errors.PeerMisbehaved: "RemoteProtocolError",
    errors.TransportError: "ReadError",
}
TIMEOUT_NAMES: dict[errors.Phase, str] = {
    "connect": "ConnectTimeout",
    "pool": "PoolTimeout",
    "write": "WriteTimeout",
    "first_byte": "ReadTimeout",
    "idle": "ReadTimeout",
    "total": "ReadTimeout",
}
Hook = Callable[[str, Mapping[str, Any]], Any]


class ErrorMapping(AbstractContextManager[None]):
    """Raises our errors as the library's exceptions at the end of a `with` block."""

    __slots__ = ("_library", "_request")

    def __init__(self, library: Any, request: Any) -> None:
        self._library = library
        self._request = request

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, errors.TransportError):
            if isinstance(error, errors.TimedOut):
                name = TIMEOUT_NAMES[error.phase]
            elif isinstance(error, errors.ConnectionLost) and error.orderly:
                name = "RemoteProtocolError"
            else:
                name = next(NAMES[base] for base in type(error).__mro__ if base in NAMES)
            raise getattr(self._library, name)(str(error), request=self._request) from error


class HookTracer:
    """Collects events for a hook of httpcore's kind, which may be a coroutine function.

    `deliver` awaits the hook later, in the caller's task.
    """

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self._pending: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        self._pending.append((name, info))

    async def deliver(self) -> None:
        """Passes the collected events to the hook."""
        pending, self._pending = self._pending, []
        for name, info in pending:
            outcome = self._hook(name, info)
            if inspect.isawaitable(outcome):
                await outcome


class ResponseBytes:
    """Body of a response; mixed with the library's AsyncByteStream."""

    def __init__(self, response: Response, mapped: ErrorMapping, tracer: HookTracer | None) -> None:
        self._response = response
        self._mapped = mapped
        self._tracer = tracer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._mapped:
            while data := await self._response.chunk():
                yield data

    async def aclose(self) -> None:
        """Ends the call, and delivers its last events."""
        self._response.cancel()
        if self._tracer is not None:
            await self._tracer.deliver()


class Bridge:
    """Pool that takes a library's requests."""

    def __init__(self, library: Any, stream_type: type[ResponseBytes], options: PoolOptions) -> None:
        self._library = library
        self._stream_type = stream_type
        self.pool = Pool(options)

    async def handle(self, request: Any) -> Any:
        """Sends a request of the library; returns its response when the head has arrived."""
        mapped = ErrorMapping(self._library, request)
        hook = request.extensions.get("trace")
        tracer = None if hook is None else HookTracer(hook)
        with mapped:
            call = self.pool.request(self._request(request), timeouts=_timeouts(request), trace=tracer)
            response = await call.start()
        if tracer is not None:
            await tracer.deliver()
        return self._library.Response(
            response.status,
            headers=response.headers,
            stream=self._stream_type(response, mapped, tracer),
            extensions=_extensions(response),
        )

    def _request(self, request: Any) -> Request:
        url = request.url
        try:
            body = request.content
        except self._library.RequestNotRead:
            # The library does not read a redirected request again, but the body may still be bytes.
            stream = request.stream
            body = b"".join(stream) if isinstance(stream, self._library.ByteStream) else stream
        return Request(
            method=request.method.encode("ascii"),
            origin=_origin(url.raw_scheme, url.raw_host, url.port),
            target=request.extensions.get("target", url.raw_path),
            headers=request.headers.raw,
            body=body,
        )


def _extensions(response: Response) -> dict[str, Any]:
    """Builds the extensions that the library's own transport sets on a response."""
    extensions: dict[str, Any] = {"http_version": response.http_version.encode("ascii")}
    if response.stream_id:
        extensions["stream_id"] = response.stream_id
    else:
        extensions["reason_phrase"] = response.reason
    return extensions


@lru_cache(maxsize=1024)
def _origin(scheme: bytes, host: bytes, port: int | None) -> Origin:
    name = scheme.decode("ascii")
    if name not in DEFAULT_PORTS:
        raise errors.UnsupportedScheme(f"the URL must begin with http:// or https://, not {name!r}")
    if not host:
        raise errors.UnsupportedScheme("the URL names no host")
    return Origin(name, host.decode("ascii").strip("[]"), port or DEFAULT_PORTS[name])


def _timeouts(request: Any) -> Timeouts:
    given = request.extensions.get("timeout") or {}
    return _timeouts_of(given.get("connect"), given.get("read"), given.get("write"), given.get("pool"))


@lru_cache(maxsize=256)
def _timeouts_of(connect: float | None, read: float | None, write: float | None, pool: float | None) -> Timeouts:
    return Timeouts(connect=connect, pool=pool, write=write, first_byte=read, idle=read)


def options_for(
    library: Any,
    options: PoolOptions | None,
    *,
    verify: ssl.SSLContext | str | bool,
    cert: Any,
    proxy: str | None,
    trust_env: bool,
) -> PoolOptions:
    """Builds the options of a pool from the library's arguments."""
    options = options or PoolOptions()
    if isinstance(verify, ssl.SSLContext) and cert is None:
        options = replace(options, ssl_context=verify)
    elif verify is not True or cert is not None:
        options = replace(
            options, ssl_context=library.create_ssl_context(verify=verify, cert=cert, trust_env=trust_env)
        )
    if proxy is not None:
        options = replace(options, proxy=proxy)
    return options if trust_env else replace(options, trust_env=False)
