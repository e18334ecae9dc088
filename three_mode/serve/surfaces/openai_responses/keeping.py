"""Responses that are kept, each as a conversation of its own.

One that goes on from another is a fork of it, which shares its rows: either can be deleted, and several may go on from
one. An answer is kept before its client knows that it is whole.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from three_mode.conversations import Talk
from three_mode.errors import InvalidRequest, NoSuchConversation
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, Message, fold
from three_mode.serve.backend import ChatBackend, ChunkStream
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.surfaces.openai_responses import body
from three_mode.serve.surfaces.openai_responses.body import KnownResponse
from three_mode.serve.surfaces.openai_responses.items import output_items

PREFIX = "resp_"
_ABOUT = "response"
_KEEPING: set[asyncio.Task[None]] = set()  # the loop itself does not hold its tasks
Keep = Callable[[LLMResponse], Awaitable[None]]


class ResponseStore:
    """The responses in an endpoint's file of conversations."""

    def __init__(self, backend: ConversationBackend) -> None:
        self._backend = backend

    async def open(self, name: str) -> Talk:
        """A response by its id."""
        if not name.startswith(PREFIX):
            raise _unknown(name)
        try:
            talk = await self._backend.talks.open(name, create=False)
        except NoSuchConversation:
            raise _unknown(name) from None
        turns = await talk.turns()
        # A crash may leave a fork without its own answer.
        if not turns or turns[-1].about.get(_ABOUT, {}).get("id") != name:
            raise _unknown(name)
        return talk

    async def before(self, known: KnownResponse) -> tuple[Message, ...]:
        """What was said before a response. Instructions are none of it: each response has its own."""
        parent = await self._parent(known)
        return await parent.messages() if parent is not None else ()

    async def keep(self, known: KnownResponse, said: Sequence[Message], reply: LLMResponse) -> None:
        """Keep a response that is whole. `said` is its input. A client that leaves finds it whole, or not at all."""
        keeping = asyncio.create_task(self._keep(known, said, reply))
        _KEEPING.add(keeping)
        keeping.add_done_callback(_KEEPING.discard)
        await asyncio.shield(keeping)

    async def _keep(self, known: KnownResponse, said: Sequence[Message], reply: LLMResponse) -> None:
        about = {_ABOUT: msgspec.to_builtins({**body.whole(known, reply), "output": ()}), "seal": known.asked.seal}
        parent = await self._parent(known)
        if parent is None:
            await _add(await self._backend.talks.open(known.id), said, reply, about)
        elif known.asked.conversation is None:
            await _add(await parent.fork(known.id), said, reply, about)
        else:
            await _add(parent, said, reply, about)
            await parent.fork(known.id)

    async def retrieve(self, name: str) -> dict[str, Any]:
        """The body of a response, as it was answered."""
        turn = (await (await self.open(name)).turns())[-1]
        kept = turn.about[_ABOUT]
        parts = turn.answered[-1].parts if turn.answered else ()
        output = output_items(name, parts, bool(turn.about.get("seal")))
        if kept["status"] != "completed" and output:
            output[-1]["status"] = "incomplete"
        return {**kept, "output": output}

    async def input_of(self, name: str) -> tuple[Message, ...]:
        """What a response was asked, with all that came before it."""
        talk = await self.open(name)
        return (await talk.messages())[:-1]

    async def delete(self, name: str) -> None:
        await (await self.open(name)).delete()

    async def _parent(self, known: KnownResponse) -> Talk | None:
        if known.asked.conversation is not None:
            return await self._backend.open(known.asked.conversation)
        return await self.open(known.asked.previous) if known.asked.previous is not None else None


def check_kept(said: Sequence[Message]) -> None:
    """Whether an input can be kept."""
    first = next((message.role for message in said if message.role != "system"), None)
    if first not in ("user", "tool"):
        raise InvalidRequest(
            "an input that is kept begins with what the user says", field="input", hint='or send "store": false'
        )


async def _add(talk: Talk, said: Sequence[Message], reply: LLMResponse, about: dict[str, Any]) -> None:
    """The input and the answer, as turns: an input may hold turns that were had elsewhere."""
    asked: list[Message] = []
    answered: list[Message] = []
    system = [message.text for message in said if message.role == "system"]
    if system:  # what a client says so holds for what goes on from here
        before = [message.text for message in (await talk.messages())[:1] if message.role == "system"]
        await talk.set_system("\n\n".join([*before, *system]))
    for message in said:
        if message.role == "system":
            continue
        if message.role == "assistant":
            answered.append(message)
            continue
        if answered:
            await talk.add(asked, answered)
            asked, answered = [], []
        asked.append(message)
    # The last words are the model's where a client has an answer continued.
    await talk.add(asked, [*answered, reply.message], reply=reply, about=about)


def _unknown(name: str) -> NoSuchConversation:
    return NoSuchConversation(
        f"there is no response {name[:100]!r}", hint="it was not kept (store), or it was deleted", conversation=name
    )


class KeptAnswer:
    """A backend whose one answer is kept, and may be stopped from outside while it streams."""

    def __init__(self, backend: ChatBackend, keep: Keep | None) -> None:
        self._backend, self._keep = backend, keep
        self.streaming: StoppableStream | None = None

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        reply = await self._backend.chat_completion(request)
        if self._keep is not None:
            await self._keep(reply)
        return reply

    def stream(self, request: LLMRequest) -> ChunkStream:
        self.streaming = StoppableStream(self._backend.stream(request), self._keep)
        return self.streaming


class StoppableStream:
    """A stream of chunks that is kept before its last chunk is read, and that `stop` ends."""

    def __init__(self, stream: ChunkStream, keep: Keep | None) -> None:
        self._stream, self._keep = stream, keep
        self._seen: list[Chunk] = []
        self._stopped = self._reading = False
        self._task: asyncio.Task[Any] | None = None  # that reads
        self._chunks: AsyncIterator[Chunk]

    def stop(self) -> None:
        """The answer ends with what came so far."""
        self._stopped = True
        if self._reading and self._task is not None:
            self._reading = False
            self._task.cancel()

    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def __aiter__(self) -> Self:
        self._chunks, self._task = aiter(self._stream), asyncio.current_task()
        return self

    async def __anext__(self) -> Chunk:
        chunk: Chunk = Finish("cancelled")
        if not self.stopped():
            self._reading = True
            try:
                chunk = await self._chunks.__anext__()
            except asyncio.CancelledError:
                assert self._task is not None
                if not self.stopped() or self._task.uncancel():  # by somebody else, not by `stop` alone
                    raise
            finally:
                self._reading = False
        if self._keep is not None:
            self._seen.append(chunk)
            if isinstance(chunk, Finish):
                await self._keep(fold(self._seen))
        return chunk

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        return await self._stream.__aexit__(kind, error, trace)
