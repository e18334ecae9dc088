"""The same client code over a library's own transport and over ours, and what a user of the library sees of each."""

import hashlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import httpx2

from tests.support.http2.servers import CERTIFICATES
from transports.http2 import HTTP2Transport, HTTPX2Transport, PoolOptions

#: Headers that differ from one response to the next.
VARYING = ("date",)


@dataclass(frozen=True)
class Way:
    """A library, and the protocol its two transports speak."""

    library: Any
    ours: Any
    http2: bool

    def __str__(self) -> str:
        return f"{self.library.__name__}-{'h2' if self.http2 else 'h1'}"

    def pool_options(self) -> PoolOptions:
        return PoolOptions(protocol="auto" if self.http2 else "http/1.1")

    def its_transport(self, **options: Any) -> Any:
        return self.library.AsyncHTTPTransport(
            verify=trusting(self, "its"), http2=self.http2, trust_env=False, **options
        )

    def our_transport(self, **options: Any) -> Any:
        return self.ours(self.pool_options(), verify=trusting(self, "ours"), trust_env=False, **options)


@cache
def trusting(way: Way, whose: str) -> ssl.SSLContext:
    """A context for each transport, because a transport sets on it what it offers by ALPN."""
    return CERTIFICATES.client_context()


WAYS = [
    Way(library, ours, h2)
    for library, ours in [(httpx, HTTP2Transport), (httpx2, HTTPX2Transport)]
    for h2 in (False, True)
]
Check = Callable[["Side"], Awaitable[Any]]


@dataclass
class Side:
    """What a check gets: a client over one of the two transports."""

    way: Way
    client: Any
    url: str
    notes: list[Any] = field(default_factory=list)

    @property
    def library(self) -> Any:
        return self.way.library

    async def get(self, path: str, **options: Any) -> dict[str, Any]:
        return seen(await self.client.get(self.url + path, **options))

    async def post(self, path: str, **options: Any) -> dict[str, Any]:
        return seen(await self.client.post(self.url + path, **options))


def seen(response: Any) -> dict[str, Any]:
    """All that a user of the library sees of a response which was read whole."""
    return seen_head(response) | {
        "content": response.content if len(response.content) < 1_000 else hashlib.sha256(response.content).hexdigest(),
        "size": len(response.content),
        "text": hashlib.sha256(response.text.encode()).hexdigest(),
        "downloaded": response.num_bytes_downloaded,
        "took time": response.elapsed.total_seconds() > 0,
    }


def seen_head(response: Any) -> dict[str, Any]:
    """What is seen of a response before its body."""
    return {
        "status": response.status_code,
        "reason": response.reason_phrase,
        "reason sent": response.extensions.get("reason_phrase"),
        "http_version": (response.http_version, response.extensions["http_version"]),
        "headers": sorted((name, value) for name, value in response.headers.multi_items() if name not in VARYING),
        "url": response.url.raw_path,
        "encoding": response.encoding,
        "links": response.links,
        "cookies": dict(response.cookies),
        "history": [(past.status_code, past.url.raw_path, sorted(past.headers)) for past in response.history],
        "has a stream's number": "stream_id" in response.extensions,
        "request": sorted(name for name in response.request.headers if name not in ("cookie",)),
    }


async def outcome(check: Check, way: Way, transport: Any, url: str, **options: Any) -> Any:
    """What the check returns over that transport, or the name of the library's exception that it raises."""
    client = way.library.AsyncClient(transport=transport, trust_env=False, timeout=10, **options)
    async with client:
        side = Side(way, client, url)
        try:
            result = await check(side)
        except way.library.HTTPError as error:
            result = ("raised", type(error).__name__, error.request.url.raw_path)
        except way.library.StreamError as error:
            result = ("raised", type(error).__name__)
        return result, dict(client.cookies), side.notes


class Checks(dict[str, Check]):
    """Checks by their names."""

    def add(self, check: Check) -> Check:
        """Adds a function under its own name."""
        self[getattr(check, "__name__", "").replace("_", " ")] = check
        return check

    def add_get(self, name: str, path: str, **options: Any) -> None:
        """Adds a check that GETs a path."""

        async def get(side: Side) -> Any:
            return await side.get(path, **options)

        self[name] = get
