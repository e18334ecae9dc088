"""Requests of batches, and a provider that answers with the words of each."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.providers.servers import QUICK, connected
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import ConnectionOptions
from three_mode.messages import LLMResponse
from three_mode.policies import Policies, Price, Prices
from three_mode.testing import Answer, ScriptedProvider, Seen, Turn

WIRES = ["openai", "anthropic"]
PRICES = Prices({"m": Price(input=1_000_000, output=2_000_000)})  # type: ignore[arg-type]  # dollars a token
REFUSED = {"message": "no such thing", "type": "invalid_request_error"}


def asking(text: str, **fields: Any) -> LLMRequest:
    return LLMRequest(**{"messages": [{"role": "user", "content": text}], "model": "m", "max_tokens": 9, **fields})


def numbered(count: int) -> list[LLMRequest]:
    return [asking(f"say {number}") for number in range(count)]


def echo(seen: Seen) -> Turn | Answer:
    """Answers with the words of the last message; "bad" is refused."""
    said = seen.json["messages"][-1]["content"]
    if said != "bad":
        return Turn(text=(said,))
    body = {"type": "error", "error": REFUSED} if "/messages" in seen.path else {"error": REFUSED}
    return Answer(status=400, pieces=(json.dumps(body).encode(),))


def said(outcomes: list[Any]) -> list[str]:
    """The text of each reply, or the class of the error in its place."""
    return [each.content if isinstance(each, LLMResponse) else type(each).__name__ for each in outcomes]


@asynccontextmanager
async def batching(
    provider: str, policies: Policies | None = None, **options: Any
) -> AsyncIterator[tuple[LLMConnection, ScriptedProvider]]:
    """A connection to a provider that echoes, with prices."""
    settings = options.pop("options", ConnectionOptions(prices=PRICES))
    policies = policies or Policies(retry=QUICK)
    async with connected(provider, policies=policies, options=settings, **options) as (llm, server):
        server.always(echo)
        yield llm, server
