"""A model as callers see it: messages in, text out. Templates, grammars and tool calls are handled here, tokens below."""

import asyncio
import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import msgspec

from local_models.backend import Deliver, GenerationRequest, ModelBackend, RunningCall, Take
from local_models.errors import BadOption, EngineFailed, ModelClosed, translate_errors
from local_models.files.catalogue import find
from local_models.gguf import Summary
from local_models.options import DEFAULTS, Generate, GenerateChanges, LoadOptions, Lora, with_changes
from local_models.prompts.grammar import schema_grammar
from local_models.prompts.templates import ChatTemplate, Message
from local_models.prompts.tools import ToolCallParser, forced_call_grammar, forces_call, offered_tools, tool_name
from local_models.replies import Reply, Statistics
from local_models.stream import Begin, PieceStream, collect_reply

_STATE = struct.Struct("<4s32sI")
_MAGIC = b"TMS1"


class LocalModel:
    """Make one with `await LocalModel.load(...)`; close it, or use it as an async context manager."""

    def __init__(self, backend: ModelBackend, options: LoadOptions) -> None:
        self._backend = backend
        self._closed = False
        self.options = options
        loaded = backend.loaded
        self.summary: Summary = loaded.summary
        self.context = loaded.context
        self._template = ChatTemplate(
            options.chat_template or loaded.summary.chat_template,
            bos=loaded.bos,
            eos=loaded.eos,
            control=loaded.control,
        )

    @classmethod
    async def load(cls, model: str | os.PathLike[str] = "tiny", options: LoadOptions | None = None) -> Self:
        """Loads a GGUF file, `gguf:PATH`, or a catalogued name. Nothing is downloaded."""
        chosen = options or LoadOptions()
        path = await asyncio.to_thread(find, os.fspath(model))
        backend: ModelBackend
        if chosen.isolated:
            from local_models.isolated import IsolatedBackend

            backend = await IsolatedBackend.start_worker(str(path), chosen)
        else:
            with translate_errors("run local models"):  # numpy and llama.cpp are of the `local` extra
                from local_models.engine.inprocess import InProcessBackend

            making = asyncio.ensure_future(asyncio.to_thread(InProcessBackend, str(path), chosen))
            try:
                backend = await asyncio.shield(making)
            except asyncio.CancelledError:  # llama.cpp cannot stop loading: what comes of it is taken down again
                making.add_done_callback(_discard)
                raise
        return cls(backend, chosen)

    # calls

    def stream(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> PieceStream:
        """The answer piece by piece; leaving the stream early, or cancelling the task, ends the call."""
        return self._chat(messages, with_changes(options, changes), pieces=True)

    def begin(
        self,
        messages: Sequence[Message],
        take: Take,
        news: Callable[[], None],
        options: Generate = DEFAULTS,
        **changes: Unpack[GenerateChanges],
    ) -> PieceStream | None:
        """For whoever can pass pieces on from any thread: the answer begins now, and `take` is offered its pieces on the engine's
        own thread, where it must not wait. The stream gives those from the first that it did not take, and the last in any case;
        `news` is called on the loop when the first of them is here. None if it cannot begin without waiting (a long prompt, an
        engine in another process), or if text may become a call of a tool: then nothing has happened."""
        how = with_changes(options, changes)
        if how.tools:
            return None
        self._open()
        ask = self._ask(self._template.render(messages, ()), how, special=True, pieces=True)
        stream = PieceStream(self._beginning(ask), how.within, None)
        begun = stream.begin_at_once(lambda deliver: self._backend.start_at_once(ask, deliver, take), news)
        return stream if begun else None

    async def chat(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        return await collect_reply(self._chat(messages, with_changes(options, changes), pieces=False))

    def stream_complete(
        self, prompt: str, options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> PieceStream:
        return self._complete(prompt, with_changes(options, changes), pieces=True)

    async def complete(self, prompt: str, options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]) -> Reply:
        """Continues a bare text; control tokens in it are plain text."""
        return await collect_reply(self._complete(prompt, with_changes(options, changes), pieces=False))

    def _chat(self, messages: Sequence[Message], how: Generate, *, pieces: bool) -> PieceStream:
        tools = offered_tools(how)
        parts = self._template.render(messages, tools)
        talk = ToolCallParser([tool_name(tool) for tool in tools]) if tools else None
        return self._stream(parts, how, special=True, pieces=pieces, talk=talk)

    def _complete(self, prompt: str, how: Generate, *, pieces: bool) -> PieceStream:
        if how.tools:
            raise BadOption("tools need messages; `complete` takes a bare text", field="tools")
        _check_text(prompt, "prompt")
        return self._stream([prompt], how, special=False, pieces=pieces, talk=None)

    def _stream(
        self, parts: Sequence[str], how: Generate, *, special: bool, pieces: bool, talk: ToolCallParser | None
    ) -> PieceStream:
        ask = self._ask(parts, how, special=special, pieces=pieces)
        return PieceStream(self._beginning(ask), how.within, talk)

    def _ask(self, parts: Sequence[str], how: Generate, *, special: bool, pieces: bool) -> GenerationRequest:
        return GenerationRequest(
            parts=tuple(parts), special=special, options=how, grammar=self._grammar(how), pieces=pieces
        )

    def _beginning(self, ask: GenerationRequest) -> Begin:
        async def begin(deliver: Deliver) -> RunningCall:
            self._open()
            return await self._backend.start(ask, deliver)

        return begin

    def _grammar(self, how: Generate) -> str:
        if forces_call(how):  # the answer is a call, whatever its text would have to be
            return forced_call_grammar(how, self._template.source)
        return schema_grammar(how.schema) if how.schema is not None else how.grammar

    def _open(self) -> None:
        if self._closed:
            raise ModelClosed("the model is closed", hint="load it again")

    # texts, tokens, vectors

    async def tokenize(self, text: str) -> list[int]:
        """The tokens of a text, without a beginning mark; control tokens in it are plain text."""
        self._open()
        _check_text(text, "text")
        return await self._backend.tokenize([text], start=False, special=False)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._open()
        if not all(isinstance(token, int) for token in tokens):
            raise BadOption("tokens are whole numbers", field="tokens")
        return await self._backend.detokenize(tokens)

    async def count(
        self, what: str | Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> int:
        """Tokens of a text, or of the whole prompt that messages (and tools) become."""
        self._open()
        if isinstance(what, str):
            return len(await self.tokenize(what))
        parts = self._template.render(what, offered_tools(with_changes(options, changes)))
        return len(await self._backend.tokenize(parts, start=True, special=True))

    async def embed(self, texts: str | Sequence[str]) -> list[list[float]]:
        """Vectors of length 1, one a text. Models that do not say how they pool are averaged over tokens."""
        self._open()
        wanted = [texts] if isinstance(texts, str) else list(texts)
        for text in wanted:
            _check_text(text, "texts")
        return await self._backend.embed(wanted)

    # a conversation's state

    async def save(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> bytes:
        """The KV state of a conversation, computed if it is not there any more."""
        self._open()
        how = with_changes(options, changes)
        parts = self._template.render(messages, offered_tools(how))
        tokens = await self._backend.tokenize(parts, start=True, special=True)
        held, state = await self._backend.save(tokens)
        if held[: len(tokens) - 1] != tuple(tokens[:-1]):
            await self.chat(messages, msgspec.structs.replace(how, max_tokens=1, schema=None, grammar=""))
            held, state = await self._backend.save(tokens)
            if held[: len(tokens) - 1] != tuple(tokens[:-1]):
                raise EngineFailed("the conversation was evicted before it was saved", hint="raise `prefix_tokens`")
        body = struct.pack(f"<{len(held)}i", *held) + state
        return _STATE.pack(_MAGIC, hashlib.sha256(body).digest(), len(held)) + body

    async def restore(self, state: bytes) -> bool:
        """Puts a saved state back: the next call that begins with it computes only the rest. False: no room for it now."""
        self._open()
        if len(state) < _STATE.size:
            raise BadOption("this is not a saved conversation", field="state")
        magic, digest, count = _STATE.unpack_from(state)
        body = state[_STATE.size :]
        if magic != _MAGIC or hashlib.sha256(body).digest() != digest or len(body) < 4 * count:
            raise BadOption("this is not a saved conversation, or it was damaged", field="state")
        tokens = list(struct.unpack_from(f"<{count}i", body))
        if count >= self.context:
            raise BadOption(f"the conversation has {count} tokens; this model holds {self.context}", field="state")
        return await self._backend.restore(tokens, body[4 * count :])

    async def set_lora(self, *adapters: Lora) -> None:
        """The adapters of all calls from now on; running ones are read again under them."""
        self._open()
        await self._backend.set_lora(adapters)

    async def statistics(self) -> Statistics:
        self._open()
        return await self._backend.statistics()

    # the end

    async def close(self) -> None:
        """Ends running calls with `ModelClosed` and frees the memory. May be called again."""
        if not self._closed:
            self._closed = True
            await asyncio.shield(self._backend.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self._backend.abandon()


def _check_text(text: object, field: str) -> None:
    if not isinstance(text, str):
        raise BadOption(f"a text is a string, not {type(text).__name__}", field=field)


def _discard(making: "asyncio.Future[Any]") -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().abandon()
