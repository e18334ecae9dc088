"""A provider that answers by what it is asked, and conversations with it in a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.providers.servers import connected
from three_mode import LLMConnection
from three_mode.conversations import ConversationOptions, Conversations
from three_mode.testing import ScriptedProvider, Seen, Turn
from three_mode.testing.provider import Speaks


def echo(seen: Seen) -> Turn:
    """The last thing that was said, and how many messages there were."""
    messages = asked(seen)
    content = messages[-1]["content"]
    text = content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
    return Turn(text=(f"{len(messages)}: ", text))


def asked(seen: Seen) -> list[dict[str, Any]]:
    """The messages of a request in OpenAI's or Anthropic's format."""
    messages: list[dict[str, Any]] = seen.json["messages"]
    return messages


@asynccontextmanager
async def talking(
    path: Path | str,
    provider: str = "openai",
    options: ConversationOptions | None = None,
    speaks: Speaks = "h2",
) -> AsyncIterator[tuple[Conversations, LLMConnection, ScriptedProvider]]:
    """Conversations with a provider that echoes."""
    async with (
        connected(provider, speaks, model="m") as (llm, server),
        Conversations(path, llm, options=options) as talks,
    ):
        server.always(echo)
        yield talks, llm, server
