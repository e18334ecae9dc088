"""`A2AAgent`: an agent of another system as an agent on the bus."""

import os
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Struct

from three_mode.a2a.chat import ChatText, message_of, reply_of
from three_mode.a2a.client import A2AClient, A2AClientOptions
from three_mode.a2a.values import A2AMessage, StreamResponse, Task, envelope
from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import handler
from three_mode.errors import ConfigurationError
from three_mode.handling import DEFAULT_WITHIN
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Start, TextDelta

AT_ONCE = 256  # calls that one agent has on their way


class A2AReply(Struct, frozen=True, omit_defaults=True):
    """What a message came to: a task, or a message and no task."""

    task: Task | None = None
    message: A2AMessage | None = None

    @property
    def text(self) -> str:
        """The text of its results."""
        found: Any = self.task or self.message
        return found.text if found is not None else ""


class A2AAgent(Agent):
    """An agent of A2A by its URL: `await orc.spawn(A2AAgent, name="planner", url="https://example.com/a2a/planner")`.

    It is a model too: a request to `agent:planner` is a message to it, and its results are the answer. What it asks
    back is an answer as well; `reply.extra["a2a"]` then has the `taskId` and `contextId` that continue the task, as
    `extra={"taskId": ..., "contextId": ...}` of the next request.
    """

    mailbox = 4 * AT_ONCE

    def __init__(self, url: str, api_key_env: str | None = None, binding: str | None = None) -> None:
        """`api_key_env`: environment variable of the hosts that holds the server's key; keys never travel on the bus.
        `binding`: "JSONRPC", "HTTP+JSON" or "GRPC", where the card has several and the first will not do."""
        self.url, self._api_key_env = url, api_key_env
        self._options = A2AClientOptions(binding=binding)
        self._client: A2AClient

    async def started(self) -> None:
        """Read the agent's card, so that a wrong URL is an error of the spawn and not of the first call."""
        key = None
        if self._api_key_env is not None:
            key = os.environ.get(self._api_key_env)
            if not key:
                raise ConfigurationError(
                    f"{self._api_key_env} is not set in the host's environment",
                    hint="set it before the orchestrator is started: hosts inherit it",
                )
        self._client = A2AClient(self.url, key=key, options=self._options)
        try:
            await self._client.card(within=self._within())
        except BaseException:
            await self._client.close()
            raise

    async def stopped(self) -> None:
        """Close the connections."""
        await self._client.close()

    @handler(concurrent=AT_ONCE)
    async def send(self, said: str | A2AMessage, task_id: str = "", context_id: str = "") -> A2AReply:
        """Send a message, and return its task once it is finished or waits for the user, or the message that the agent
        answered with. `task_id` and `context_id`: what it continues."""
        found = await self._client.send(said, task=task_id, context=context_id, within=self._within())
        return A2AReply(message=found) if isinstance(found, A2AMessage) else A2AReply(task=found)

    @handler(concurrent=AT_ONCE)
    async def stream(
        self, said: str | A2AMessage, task_id: str = "", context_id: str = ""
    ) -> AsyncIterator[StreamResponse]:
        """Send a message, and yield the events of its task."""
        async with self._client.stream(said, task=task_id, context=context_id, within=self._within()) as events:
            async for event in events:
                yield envelope(event)

    @handler(concurrent=AT_ONCE)
    async def task(self, task_id: str) -> Task:
        """A task as it is now."""
        return await self._client.task(task_id, within=self._within())

    @handler(concurrent=AT_ONCE)
    async def cancel(self, task_id: str) -> Task:
        """End a task, and return it as it is then."""
        return await self._client.cancel(task_id, within=self._within())

    @handler(concurrent=AT_ONCE)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The results of a message as a whole answer."""
        said, task, context = message_of(request)
        within = self._within(request.within)
        found = await self._client.send(said, task=task, context=context, within=within)
        return reply_of(found, self._client.name)

    @handler(concurrent=AT_ONCE)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        """The same as chunks."""
        said, task, context = message_of(request)
        text = ChatText(self._client.name)
        async with self._client.stream(said, task=task, context=context, within=self._within(request.within)) as events:
            yield [Start(provider=self._client.name)]
            async for event in events:
                piece = text.of(event)
                if piece:
                    yield [TextDelta(piece)]
            yield [Finish(extra=text.end(events.fold))]

    def _within(self, asked: float | None = None) -> float:
        """What remains of the call; where nobody waits, as long as any call has."""
        remaining = self.remaining()
        if remaining == float("inf"):
            return DEFAULT_WITHIN if asked is None else asked
        return max(0.001, remaining)
