"""Connections to scripted providers on real sockets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.support.http2.servers import CERTIFICATES
from three_mode import LLMConnection
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import LLMRequest
from three_mode.policies import FallbackOptions, Policies, RetryOptions, Target
from three_mode.testing import ScriptedProvider
from three_mode.testing.provider import Speaks
from transports.http2 import PoolOptions

# Where each wire format begins, on a server that speaks all of them.
PATHS = {
    "openai": "/v1",
    "anthropic": "/v1",
    "gemini": "/v1beta",
    "ollama": "",
    "deepseek": "/v1",
    "qwen": "/v1",
}
QUICK = RetryOptions(attempts=3, first=0.01, most=0.05)
HELLO = [{"role": "user", "content": "Hello!"}]


def hello(model: str | None = "m", **options: Any) -> LLMRequest:
    return LLMRequest(messages=HELLO, model=model, **options)


def account(provider: str, server: ScriptedProvider) -> Account:
    return Account(api_key="sk-secret-key-of-the-test", base_url=server.url + PATHS[provider])


@asynccontextmanager
async def connected(
    provider: str = "openai", speaks: Speaks = "h2", policies: Policies | None = None, **options: Any
) -> AsyncIterator[tuple[LLMConnection, ScriptedProvider]]:
    """One provider and a connection to it."""
    async with several((provider,), speaks, policies, **options) as (llm, servers):
        yield llm, servers[provider]


@asynccontextmanager
async def several(
    providers: tuple[str, ...], speaks: Speaks = "h2", policies: Policies | None = None, **options: Any
) -> AsyncIterator[tuple[LLMConnection, Mapping[str, ScriptedProvider]]]:
    """A server for each provider, and a connection to the first that falls back to the others."""
    policies = policies or Policies(retry=QUICK)
    more = tuple(Target(name, f"model-of-{name}") for name in providers[1:])
    if more and not policies.fallback.targets:
        policies = replace(policies, fallback=replace(policies.fallback, targets=more))
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(
                ScriptedProvider(speaks, certificates=CERTIFICATES if speaks in ("h2", "https/1.1") else None)
            )
            for name in providers
        }
        settings = options.pop("options", ConnectionOptions())
        llm = LLMConnection(
            providers[0],
            policies=policies,
            options=replace(
                settings,
                accounts={name: account(name, server) for name, server in servers.items()} | dict(settings.accounts),
                transport=transport(speaks),
            ),
            **options,
        )
        await stack.enter_async_context(llm)
        yield llm, servers


def transport(speaks: Speaks) -> PoolOptions:
    if speaks == "h2c":
        return PoolOptions(protocol="h2", trust_env=False)
    if speaks == "http/1.1":
        return PoolOptions(trust_env=False)
    return PoolOptions(ssl_context=CERTIFICATES.client_context(), trust_env=False)


__all__ = [
    "HELLO",
    "PATHS",
    "QUICK",
    "FallbackOptions",
    "account",
    "connected",
    "hello",
    "several",
    "transport",
]
