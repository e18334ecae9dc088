"""Pools and providers for the tests of the HTTP/2 transport."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from three_mode.testing import Behaviour, Certificates, ScriptedProvider
from three_mode.testing.http2 import H2Server
from three_mode.testing.provider import Speaks
from transports.http2 import OriginStatistics, Pool, PoolOptions, Request

CERTIFICATES = Certificates()  # one authority for all tests: making keys takes time
CHAT = "/v1/chat/completions"
QUESTION = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
STREAM = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'


@asynccontextmanager
async def serve(speaks: Speaks = "h2", behaviour: Behaviour | None = None) -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider(speaks, behaviour=behaviour, certificates=_certificates(speaks)) as provider:
        yield provider
        assert provider.complaints == [], "the client broke the protocol"


def _certificates(speaks: Speaks) -> Certificates | None:
    return CERTIFICATES if speaks in ("h2", "https/1.1") else None


def options_for(provider: ScriptedProvider, options: PoolOptions | None = None) -> PoolOptions:
    """Options of a pool for a provider."""
    options = replace(options or PoolOptions(), trust_env=False)
    if provider.speaks == "h2c":
        return replace(options, protocol="h2")
    if provider.speaks == "http/1.1":
        return options
    return replace(options, ssl_context=CERTIFICATES.client_context())


@asynccontextmanager
async def connected(
    speaks: Speaks = "h2", options: PoolOptions | None = None, behaviour: Behaviour | None = None
) -> AsyncIterator[tuple[Pool, ScriptedProvider]]:
    """Provider and a pool for it."""
    async with serve(speaks, behaviour) as provider, Pool(options_for(provider, options)) as pool:
        yield pool, provider


def chat(provider: ScriptedProvider, body: bytes = QUESTION) -> Request:
    return Request.to("POST", provider.url + CHAT, [(b"authorization", b"Bearer secret-key")], body)


def streamed(provider: ScriptedProvider) -> Request:
    return chat(provider, STREAM)


def only(pool: Pool) -> OriginStatistics:
    """Counters of the single origin."""
    (statistics,) = pool.statistics().values()
    return statistics


def lane(provider: ScriptedProvider, number: int = 0) -> H2Server:
    """Server's side of a connection."""
    connection = provider.connections[number]
    assert isinstance(connection, H2Server)
    return connection
