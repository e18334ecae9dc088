"""LocalModel: messages in, text out. It handles templates, grammars and tool calls; its backend handles tokens."""

import asyncio
import hashlib
import logging
import os
import struct
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

import msgspec

from local_models.backend import Claim, Deliver, GenerationRequest, ModelBackend, RunningCall, Take, granted
from local_models.errors import BadOption, EngineFailed, ModelClosed, translate_errors
from local_models.files.catalogue import find
from local_models.gguf import Summary
from local_models.options import DEFAULTS, Generate, GenerateChanges, LoadOptions, Lora, with_changes
from local_models.prompts.answers import AnswerReader
from local_models.prompts.grammar import exact_grammar
from local_models.prompts.preparing import prepare
from local_models.prompts.templates import Message
from local_models.replies import Reply, Statistics
from local_models.requests import RequestMaker
from local_models.stream import Begin, PieceStream, collect_reply
from local_models.transformers.address import SCHEME, is_hugging_face

if TYPE_CHECKING:
    from local_models.prompts.answer_check import AnswerCheck

logger = logging.getLogger("local_models")
_STATE = struct.Struct("<4s32sI")
_MAGIC = b"TMS1"
_LEAST_SECONDS = 1e-6  # left of a deadline that has passed: the engine reports it


class LocalModel:
    """A loaded model: `async with await LocalModel.load("tiny") as model: ...`.

    `options` are those of the load, `summary` describes the file, and `context` is the most tokens of one call. Every
    method raises `ModelClosed` after `close`. Options of a call are a `Generate`, fields of it as keywords, or both.
    """

    def __init__(self, backend: ModelBackend, options: LoadOptions) -> None:
        self._backend = backend
        self._closed = False
        self.options = options
        loaded = backend.loaded
        self.summary: Summary = loaded.summary
        self.context = loaded.context
        self._requests = RequestMaker(loaded, options.chat_template)

    @classmethod
    async def load(
        cls, model: str | os.PathLike[str] = "tiny", options: LoadOptions | None = None, *, claim: Claim | None = None
    ) -> Self:
        """Loads a GGUF file, `gguf:PATH`, or a name of the catalogue, on a thread; or `hf:PATH` and `hf:OWNER/NAME`, a
        model of Hugging Face, in a worker process. Nothing is downloaded, unless `options.network` allows it.

        `claim` is asked, on a thread of the model, before the KV cache of a GGUF model grows: it gets the bytes that
        the cache is to have, and where it returns False the cache stays as it is. A `ModelPool` keeps its budget so.
        """
        chosen, name = options or LoadOptions(), os.fspath(model)
        if chosen.idle_unload:
            raise BadOption(
                "`idle_unload` is for models of a pool, which loads them again",
                field="idle_unload",
                hint="use a ModelPool or a connection, or close this model yourself",
            )
        backend: ModelBackend
        if chosen.projector:
            if is_hugging_face(name):
                raise BadOption("a projector is for GGUF models", field="projector")
            projector = await asyncio.to_thread(find, chosen.projector)
            chosen = msgspec.structs.replace(chosen, projector=str(projector))
        if is_hugging_face(name):
            from local_models.isolated import IsolatedBackend
            from local_models.transformers.loading import prepared_folder

            folder = await asyncio.to_thread(prepared_folder, name, chosen)
            return await cls._loaded(await IsolatedBackend.start_worker(f"{SCHEME}{folder}", chosen), chosen)
        if chosen.device != "auto":
            raise BadOption("`device` is for models of hf:; a GGUF model takes `gpu_layers`", field="device")
        path = await asyncio.to_thread(find, name)
        if chosen.draft:
            draft = await asyncio.to_thread(find, chosen.draft)
            chosen = msgspec.structs.replace(chosen, draft=str(draft))
        if chosen.isolated:
            from local_models.isolated import IsolatedBackend

            backend = await IsolatedBackend.start_worker(str(path), chosen, claim)
        else:
            with translate_errors("run local models"):  # numpy and llama.cpp come with the `local` extra
                from local_models.engine.loading import load_backend

            making = asyncio.ensure_future(load_backend(str(path), chosen, claim=claim or granted))
            try:
                backend = await asyncio.shield(making)
            except asyncio.CancelledError:  # llama.cpp cannot stop loading: the model is freed once it is there
                making.add_done_callback(_abandon_loaded)
                raise
        return await cls._loaded(backend, chosen)

    @classmethod
    async def _loaded(cls, backend: ModelBackend, options: LoadOptions) -> Self:
        loaded = cls(backend, options)
        try:
            await asyncio.to_thread(loaded._requests.template.compile)
        except BaseException:
            backend.abandon()
            loaded._closed = True
            raise
        facts = backend.loaded
        logger.info("loaded %s: a context of %d tokens, %s", facts.summary.path, facts.context, facts.context_chosen)
        return loaded

    # --- calls ---

    def stream(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> PieceStream:
        """Returns the answer piece by piece; leaving the stream early, or cancelling the task, ends the call."""
        return self._stream_chat(messages, with_changes(options, changes), pieces=True)

    def begin(
        self,
        messages: Sequence[Message],
        take: Take,
        news: Callable[[], None],
        options: Generate = DEFAULTS,
        **changes: Unpack[GenerateChanges],
    ) -> PieceStream | None:
        """Starts an answer whose pieces `take` may forward from the engine's thread; a wake-up of the loop is saved.

        `take` receives the pieces of each step on the engine's thread, where it must not wait. After its first False
        the stream has those pieces and all later ones; the stream has the last piece in any case. `news` is called on
        the loop when the first piece of the stream, or an error, has arrived.

        Returns None, and does nothing, where the call cannot start without waiting (a long prompt, an engine in another
        process) or where text may turn out to be a tool call, or must be checked when it is whole.
        """
        how = with_changes(options, changes)
        if how.tools or self._requests.thinks:
            return None
        self._require_open()
        self._requests.require_writer()
        parts = self._requests.rendered_at_once(messages, how)
        if parts is None or not self._requests.has_small_grammar(how):
            return None
        grammar, exact = (how.grammar, True) if how.schema is None else exact_grammar(how.schema)
        if not exact:
            return None  # the answer is checked before it ends
        request = self._requests.of(parts, how, special=True, pieces=True, grammar=grammar)
        stream = PieceStream(self._starter(request), how.within, None)
        begun = stream.begin_at_once(lambda deliver: self._backend.start_at_once(request, deliver, take), news)
        return stream if begun else None

    async def chat(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        """Returns the whole answer to messages; cancelling the task ends the call."""
        return await collect_reply(self._stream_chat(messages, with_changes(options, changes), pieces=False))

    def stream_complete(
        self, prompt: str | Sequence[int], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> PieceStream:
        """Continues a bare text, or tokens, piece by piece. Control tokens in a text are plain text. Tokens are the
        whole prompt: nothing is added to them."""
        return self._stream_text(prompt, with_changes(options, changes), pieces=True)

    async def complete(
        self, prompt: str | Sequence[int], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        """Continues a bare text, or tokens, and returns the whole answer; see `stream_complete`."""
        return await collect_reply(self._stream_text(prompt, with_changes(options, changes), pieces=False))

    def _stream_chat(self, messages: Sequence[Message], how: Generate, *, pieces: bool) -> PieceStream:
        self._requests.require_writer()
        reader = self._requests.reader(how)
        pieces = pieces or self._requests.thinks is not None  # its tokens are counted piece by piece
        pictures: list[bytes] = []
        parts = self._requests.rendered_at_once(messages, how) if self._requests.has_small_grammar(how) else None
        if parts is not None:
            request = self._requests.of(parts, how, special=True, pieces=pieces, reader=reader)
            begin = self._starter(request)
        else:
            given = list(messages)
            begin = self._slow_starter(
                lambda until: self._requests.render(given, how, until, pictures),
                how,
                special=True,
                pieces=pieces,
                reader=reader,
                pictures=pictures,
            )
        return PieceStream(begin, how.within, reader, _answer_check(how))

    def _stream_text(self, prompt: str | Sequence[int], how: Generate, *, pieces: bool) -> PieceStream:
        self._requests.require_writer()
        if how.tools:
            raise BadOption("tools need messages; `complete` takes a bare text", field="tools")
        parts, tokens = ([prompt], ()) if isinstance(prompt, str) else ([], _checked_tokens(prompt, "prompt"))
        if self._requests.has_small_grammar(how):
            begin = self._starter(self._requests.of(parts, how, special=False, pieces=pieces, tokens=tokens))
        else:
            begin = self._slow_starter(lambda until: parts, how, special=False, pieces=pieces, tokens=tokens)
        return PieceStream(begin, how.within, None, _answer_check(how))

    def _starter(self, request: GenerationRequest) -> Begin:
        async def begin(deliver: Deliver) -> RunningCall:
            self._require_open()
            return await self._backend.start(request, deliver)

        return begin

    def _slow_starter(
        self,
        render: Callable[[float], Sequence[str]],
        how: Generate,
        *,
        special: bool,
        pieces: bool,
        tokens: tuple[int, ...] = (),
        reader: AnswerReader | None = None,
        pictures: Sequence[bytes] = (),
    ) -> Begin:
        """Returns the begin of a call that is prepared on a thread; its time counts to the deadline of the call."""

        async def begin(deliver: Deliver) -> RunningCall:
            self._require_open()
            until = time.monotonic() + how.within

            def work() -> GenerationRequest:
                parts = render(until)  # which adds the pictures
                return self._requests.of(
                    parts, how, special=special, pieces=pieces, tokens=tokens, reader=reader, pictures=pictures
                )

            request = await prepare(work, until, how.within)
            self._require_open()
            left = max(until - time.monotonic(), _LEAST_SECONDS)
            return await self._backend.start(msgspec.structs.replace(request, within=left), deliver)

        return begin

    async def _prompt_tokens(self, messages: Sequence[Message], how: Generate) -> list[int]:
        pictures: list[bytes] = []
        parts = self._requests.rendered_at_once(messages, how)
        if parts is None:
            until, given = time.monotonic() + how.within, list(messages)
            parts = await prepare(lambda: self._requests.render(given, how, until, pictures), until, how.within)
            self._require_open()
        return await self._backend.tokenize(parts, start=True, special=True, pictures=pictures)

    def _require_open(self) -> None:
        if self._closed:
            raise ModelClosed("the model is closed", hint="load it again")

    # --- texts, tokens, vectors ---

    async def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text, without the mark that begins a prompt; control tokens in it are plain text."""
        self._require_open()
        _check_text(text, "text")
        return await self._backend.tokenize([text], start=False, special=False)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens."""
        self._require_open()
        if not all(isinstance(token, int) for token in tokens):
            raise BadOption("tokens are whole numbers", field="tokens")
        return await self._backend.detokenize(tokens)

    async def count(
        self, what: str | Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> int:
        """Counts the tokens of a text, or of the prompt that messages and tools render to."""
        self._require_open()
        if isinstance(what, str):
            return len(await self.tokenize(what))
        return len(await self._prompt_tokens(what, with_changes(options, changes)))

    async def count_prompt(self, prompt: str | Sequence[int]) -> int:
        """Counts the tokens of a bare prompt, with the mark that begins it."""
        self._require_open()
        if not isinstance(prompt, str):
            return len(prompt)
        return len(await self._backend.tokenize([prompt], start=True, special=False))

    async def embed(self, texts: str | Sequence[str | Sequence[int]]) -> list[list[float]]:
        """Returns one vector of length 1 for each text; without a pooling type it is that of the last token.

        A text may be given as its tokens, to which nothing is added.
        """
        self._require_open()
        wanted: list[str | Sequence[int]] = [texts] if isinstance(texts, str) else list(texts)
        checked = [text if isinstance(text, str) else _checked_tokens(text, "texts") for text in wanted]
        return await self._backend.embed(checked)

    async def rerank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Returns how well each document answers the query, and the tokens that this took.

        Higher is better; scores of two queries or models do not compare. The model has to be a reranker.
        """
        self._require_open()
        _check_text(query, "query")
        for document in documents:
            _check_text(document, "documents")
        return await self._backend.rank(query, list(documents))

    # --- a conversation's state ---

    async def save(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> bytes:
        """Returns the KV state of a conversation, with a checksum; computes it where the cache has lost it."""
        self._require_open()
        how = with_changes(options, changes)
        tokens = await self._prompt_tokens(messages, how)
        held, state = await self._backend.save(tokens)
        if held[: len(tokens) - 1] != tuple(tokens[:-1]):
            await self.chat(messages, msgspec.structs.replace(how, max_tokens=1, schema=None, grammar=""))
            held, state = await self._backend.save(tokens)
            if held[: len(tokens) - 1] != tuple(tokens[:-1]):
                raise EngineFailed("the conversation was evicted before it was saved", hint=self._to_keep_more())
        body = struct.pack(f"<{len(held)}i", *held) + state
        return _STATE.pack(_MAGIC, hashlib.sha256(body).digest(), len(held)) + body

    def _to_keep_more(self) -> str:
        """Says what would keep the text of a finished call longer."""
        if self.options.prefix_tokens >= 0:
            return "load the model with more `prefix_tokens`"
        return "save it while fewer conversations are held, or load the model with more `sequences`"

    async def restore(self, state: bytes) -> bool:
        """Puts a saved state back: a call that begins with it computes only the rest. False: there is no room now."""
        self._require_open()
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
        """Replaces the adapters of all calls; texts of running calls are computed again with them."""
        self._require_open()
        await self._backend.set_lora(adapters)

    async def statistics(self) -> Statistics:
        """Returns settings and counts of the engine."""
        self._require_open()
        return await self._backend.statistics()

    # --- the end ---

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


def _answer_check(how: Generate) -> "AnswerCheck | None":
    if how.schema is None and not how.tools:
        return None
    from local_models.prompts.answer_check import answer_check  # slow to import, and most calls need none

    return answer_check(how)


def _checked_tokens(tokens: Any, field: str) -> tuple[int, ...]:
    if not isinstance(tokens, Sequence) or isinstance(tokens, bytes):
        raise BadOption(f"a text is a string or tokens, not {type(tokens).__name__}", field=field)
    if not tokens or not all(type(token) is int for token in tokens):
        raise BadOption("tokens are whole numbers, and at least one", field=field)
    return tuple(tokens)


def _abandon_loaded(making: "asyncio.Future[Any]") -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().abandon()
