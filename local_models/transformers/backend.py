"""Backend of a Hugging Face model, in the worker process."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from local_models.backend import Deliver, GenerationRequest, LoadedModel, RunningCall, Take, how_to_have_more
from local_models.errors import BadOption, EngineFailed, LocalModelError, PromptTooLong
from local_models.options import LoadOptions, Lora
from local_models.prompts.preparing import prepare
from local_models.replies import Statistics
from local_models.transformers.answer import Item, OpenAnswer
from local_models.transformers.engine import StepEngine
from local_models.transformers.folder import check_folder
from local_models.transformers.options import shape_of
from local_models.transformers.sampling import Chooser
from local_models.transformers.templates import shows_tools
from local_models.transformers.text import TokenText
from local_models.transformers.torch_model import TorchModel
from local_models.transformers.vectors import takes_first_token, vector_of

T = TypeVar("T")
_LONG_TEXT = 32_768  # characters; longer texts are tokenized on a thread
_SECONDS = 600.0  # longest tokenization for a method other than a call
_LONGEST_TOKEN = 256  # characters; a prompt with more of them for each token of the context is not tokenized


class TransformersBackend:
    """Runs a model of transformers. The constructor blocks while the model is loaded.

    `failed` is called on the engine's thread when the engine can do nothing more.
    """

    def __init__(self, folder: str, options: LoadOptions, failed: Callable[[], None] = lambda: None) -> None:
        self.summary = summary = check_folder(Path(folder))
        self._options, self._shape = options, shape_of(summary, options)
        shape = self._shape
        self._model = model = TorchModel(Path(folder), options, summary.file_bytes)
        self._first_token = takes_first_token(Path(folder))
        self._shows_tools = shows_tools(options.chat_template or summary.chat_template)
        self._arrivals = itertools.count(1)
        self._engine = StepEngine(
            model,
            width=shape.sequences,
            queue=options.queue,
            batch=options.batch,
            context=shape.context,
            failed=failed,
        )
        if model.writes:
            self._engine.check(min(model.tokens.eos_id or 0, summary.vocabulary - 1))
        self.loaded = LoadedModel(
            summary=summary,
            context=shape.context,
            context_chosen=shape.context_chosen,
            bos=model.tokens.bos,
            eos=model.tokens.eos,
            control=model.tokens.control,
            adds_bos=False,
        )
        self._engine.start()

    # --- texts and tokens ---

    def _tokens(self, parts: Sequence[str], *, start: bool, special: bool) -> list[int]:
        """A prompt of messages has the marks that its template wrote; a bare text has those of the tokenizer."""
        marks = start and not special
        tokens: list[int] = []
        for index, part in enumerate(parts):
            tokens += self._model.tokens.encode(part, special=special, marks=marks and index == 0)
        return tokens

    async def _tokenized(self, parts: Sequence[str], until: float, within: float, **how: bool) -> list[int]:
        if sum(map(len, parts)) <= _LONG_TEXT:
            return self._tokens(parts, **how)
        return await prepare(lambda: self._tokens(parts, **how), until, within)

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        return await self._tokenized(parts, time.monotonic() + _SECONDS, _SECONDS, start=start, special=special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._check_tokens(tokens, max(len(self._model.tokens), self.summary.vocabulary), "tokens")
        return self._model.tokens.decode(tokens, skip_special=False)

    @staticmethod
    def _check_tokens(tokens: Sequence[int], most: int, field: str) -> None:
        """Raises `BadOption` for a token that this model does not have."""
        if any(not 0 <= token < most for token in tokens):
            raise BadOption(f"a token is between 0 and {most - 1}", field=field)

    # --- calls ---

    async def start(self, request: GenerationRequest, deliver: Deliver) -> RunningCall:
        asked, how = time.monotonic(), request.options
        self._check(request)
        until = asked + (request.within or how.within)
        if request.tokens:
            self._check_tokens(request.tokens, self.summary.vocabulary, "prompt")
            tokens = list(request.tokens)
        else:
            tokens = await self._tokenized(request.parts, until, how.within, start=True, special=request.special)
        room = self.loaded.context
        if not tokens:
            raise BadOption("the prompt is empty", field="messages")
        if len(tokens) >= room:
            raise self._too_long(len(tokens))
        loop = asyncio.get_running_loop()

        def post(item: Item) -> None:
            try:
                loop.call_soon_threadsafe(deliver, item)
            except RuntimeError:
                pass  # the loop is closed, and so are the callers

        answer = OpenAnswer(
            prompt=tokens,
            options=how,
            # What goes on from a bare text begins with the space that is due there; an answer begins anew.
            text=TokenText(self._model.tokens.decode, how.stop, () if request.special else tokens),
            deliver=post,
            pieces=request.pieces,
            asked=asked,
            deadline=until,
            agent=how.agent,
            priority=how.priority,
            arrival=next(self._arrivals),
            chooser=Chooser(how, self._model.ends),
        )
        self._engine.submit(answer)
        return RunningCall(cancel=lambda: self._engine.cancel(answer))

    def start_at_once(self, request: GenerationRequest, deliver: Deliver, take: Take) -> RunningCall | None:
        return None  # it is in a worker process

    def _check(self, request: GenerationRequest) -> None:
        """Raises `BadOption` for what this engine cannot do."""
        how = request.options
        if not self._model.writes:
            raise BadOption(
                "this model is an encoder: it writes no text", field="model", hint="`embed` is what it does"
            )
        if request.grammar and request.opens is None:  # one behind a mark is a help that a call can do without
            forced = how.tool_choice not in ("auto", "none")
            field = "tool_choice" if forced else "schema" if how.schema is not None else "grammar"
            raise BadOption(
                f"a model of hf: writes without a grammar, so `{field}` cannot be kept",
                field=field,
                hint="ask for it in the prompt and check the answer, or use a GGUF model",
            )
        if how.tools and how.tool_choice != "none" and not self._shows_tools:
            raise BadOption(
                "the chat template of this model has no place for tools",
                field="tools",
                hint="give a `chat_template` that has one",
            )
        self._check_tokens([int(token) for token in how.logit_bias], self.summary.vocabulary, "logit_bias")
        characters, room = sum(map(len, request.parts)), self.loaded.context
        if characters > _LONGEST_TOKEN * room:  # to tokenize it would take seconds
            raise self._too_long(characters // _LONGEST_TOKEN)

    def _too_long(self, tokens: int) -> PromptTooLong:
        context = self.loaded.context
        return PromptTooLong(tokens, context - 1, how_to_have_more(context, self.summary.context, self._options))

    # --- vectors, counts ---

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        if self._model.writes:
            raise BadOption(
                "this model writes text; vectors are made by encoders", field="model", hint="load an encoder, like BERT"
            )
        vectors = []
        for text in texts:
            if isinstance(text, str):
                until = time.monotonic() + _SECONDS
                tokens = await self._tokenized([text], until, _SECONDS, start=True, special=False)
            else:
                self._check_tokens(text, self.summary.vocabulary, "texts")
                tokens = list(text)
            if not text:
                raise BadOption("an empty text", field="texts")
            if len(tokens) > self.loaded.context:
                raise PromptTooLong(len(tokens), self.loaded.context)
            vectors.append(await self._on_engine(lambda: self._vector(tokens)))  # noqa: B023  (awaited here)
        return vectors

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        raise BadOption("a model of hf: reranks no documents", field="model", hint="use a reranker in GGUF")

    def _vector(self, tokens: list[int]) -> list[float]:
        return vector_of(self._model, tokens, first_token=self._first_token)

    async def _on_engine(self, run: Callable[[], T]) -> T:
        """Runs something on the engine's thread between two steps, and waits for its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

        def command() -> None:
            value, problem = None, None
            try:
                if not future.cancelled():
                    value = run()
            except LocalModelError as error:
                problem = error
            except Exception as error:  # noqa: BLE001  # the caller waits for an answer
                problem = EngineFailed(f"the engine failed: {error!r}")
            try:
                loop.call_soon_threadsafe(settle, value, problem)
            except RuntimeError:
                pass  # the loop is closed

        self._engine.command(command)
        return await future

    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        raise BadOption("a model of hf: keeps no state of a conversation", field="state", hint="use a GGUF model")

    async def restore(self, tokens: list[int], state: bytes) -> bool:
        raise BadOption("a model of hf: keeps no state of a conversation", field="state", hint="use a GGUF model")

    async def set_lora(self, adapters: Sequence[Lora]) -> None:
        raise BadOption(
            "adapters are for GGUF models", field="lora", hint="merge it: `model.merge_and_unload()` of peft"
        )

    async def statistics(self) -> Statistics:
        engine, shape, totals = self._engine, self._shape, self._engine.totals
        return Statistics(
            path=self.summary.path,
            architecture=self.summary.architecture,
            device=self._model.description,
            layout="one cache a call",
            width=shape.sequences,
            width_chosen="configured",
            sequences=shape.sequences,
            context=shape.context,
            context_chosen=shape.context_chosen,
            sequence_tokens=shape.context,
            pool=shape.context * shape.sequences,
            threads=self._model.threads,
            gpu_layers=-1 if self._model.device.type != "cpu" else 0,
            memory_bytes=self.summary.file_bytes + shape.kv_bytes(self.summary),
            running=engine.running,
            waiting=engine.waiting,
            finished=totals.finished,
            failed=totals.failed,
            cancelled=totals.cancelled,
            expired=totals.expired,
            refused=totals.refused,
            preempted=0,
            prompt_tokens=totals.prompt_tokens,
            reused_tokens=0,
            completion_tokens=totals.completion_tokens,
            resident_prefix_tokens=0,
            evicted_prefix_tokens=0,
            steps=totals.steps,
            decode_seconds=totals.decode_seconds,
            engine_seconds=totals.engine_seconds,
        )

    # --- the end ---

    async def close(self) -> None:
        self._engine.close()

    def abandon(self) -> None:
        self._engine.close()
