"""Backend in this process: creates weights, context and engine of a model, and frees them in the right order."""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from random import getrandbits
from typing import TypeVar

import msgspec
import numpy as np

from local_models.backend import (
    Claim,
    Deliver,
    GenerationRequest,
    LoadedModel,
    RunningCall,
    Take,
    granted,
    how_to_have_more,
)
from local_models.engine.engine import Engine, Job
from local_models.engine.growth import Growth, Room
from local_models.engine.images import ImageAt, add_image
from local_models.engine.loop_side import DirectPost, LoopSide
from local_models.engine.tickets import Ticket
from local_models.errors import BadGrammar, BadOption, EngineFailed, LocalModelError, PromptTooLong
from local_models.kept.prompts import KeptOptions, KeptPrompts
from local_models.llama import Context, ContextShape, Sampler, Sampling, Weights
from local_models.llama.identity import model_key
from local_models.llama.memory import release_free_memory
from local_models.llama.opening import OpenedModel, open_model
from local_models.llama.pairs import RerankPairs
from local_models.llama.projector import Projector
from local_models.llama.widths import NOT_MEASURED, known_width
from local_models.openings import Opening
from local_models.options import Generate, LoadOptions, Lora
from local_models.prompts.gbnf import check_grammar
from local_models.prompts.pictures import MARK
from local_models.prompts.preparing import prepare
from local_models.replies import Statistics
from local_models.scheduling.plan import SchedulerLimits
from local_models.speculation import Speculation, StepLayout

logger = logging.getLogger("local_models")
T = TypeVar("T")
_LONG_TEXT = 32_768  # characters; longer texts are tokenized on a thread
_FOR_EVER = 1 << 62  # tokens
_LONG_GRAMMAR = 2_048  # characters; longer grammars are checked and built on a thread
METHOD_SECONDS = 600.0  # longest preparation of a method other than a call


def sampling_of(options: Generate, grammar: str, opens: Opening | None, shown: dict[int, bytes]) -> Sampling:
    """Returns the sampling of a call; without a seed it gets a random one."""
    seed = options.seed if options.seed is not None else getrandbits(31)
    return Sampling(
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
        min_p=options.min_p,
        repeat_penalty=options.repeat_penalty,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        penalty_window=options.penalty_window,
        seed=seed,
        grammar=grammar,
        opens=opens,
        shown=shown,
        bias={int(token): value for token, value in options.logit_bias.items()},
        least=_FOR_EVER if options.ignore_eos else options.min_tokens,
    )


def _can_speculate(weights: Weights, options: LoadOptions) -> bool:
    """Whether tokens may be proposed: not where the model cannot forget a part of a text."""
    return options.speculate != "off" and not weights.recurrent and not weights.sliding_window


def _speculation(
    weights: Weights, context: Context, options: LoadOptions, draft_weights: Weights | None
) -> Speculation | None:
    if not _can_speculate(weights, options):
        return None
    draft = None
    if draft_weights is not None:
        from local_models.speculation.draft import DraftModel

        draft = DraftModel(draft_weights, context.shape)
    layout = StepLayout(unified=context.shape.unified, gap=context.most_fillers)
    fixed = options.speculate if isinstance(options.speculate, int) else 0
    return Speculation(layout, weights.ends, fixed, draft)


def _open_draft(weights: Weights, options: LoadOptions) -> Weights | None:
    """Loads the draft model, where there is one; raises `BadOption` where it does not fit."""
    if not options.draft or not _can_speculate(weights, options):
        return None
    from local_models.speculation.draft import check_vocabulary

    own = LoadOptions(context=options.context, gpu_layers=options.gpu_layers, sequences=1, mmap=options.mmap)
    opened = open_model(options.draft, own, own_process=False)
    try:
        check_vocabulary(weights, opened.weights)
    except BaseException:
        opened.weights.close()
        raise
    return opened.weights


def _is_sound(grammar: str) -> bool:
    """Whether llama.cpp takes a grammar, which names no tokens."""
    try:
        return not check_grammar(grammar)
    except BadGrammar:
        return False


Prompt = tuple[list[int], Sequence[ImageAt]]
"""Tokens, and the images among them."""


def _close_sampler(prepared: tuple[Prompt, Sampler | None]) -> None:
    if prepared[1] is not None:
        prepared[1].close()


class InProcessBackend:
    """Backend whose engine is a thread of this process. The constructor makes the KV cache of a model that was opened.

    `claim` is asked before the cache takes more than at load.
    """

    def __init__(self, opened: OpenedModel, options: LoadOptions, claim: Claim = granted) -> None:
        facts, self._plan, self._weights = opened.facts, opened.plan, opened.weights
        load_plan, self.summary, self._longest_token = opened.plan, facts.summary, facts.longest_token
        self._options = options
        self._adapters: dict[str, int] = {}
        self._marks: dict[str, int] = {}  # text -> token, see `_token_of`
        self._embedder: Context | None = None
        self._long_text = False
        self._pairs = RerankPairs(self._weights, self.summary.rerank_template)
        self._loop_sides: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopSide]
        self._loop_sides = weakref.WeakKeyDictionary()
        self._draft_weights: Weights | None = None
        context: Context | None = None
        self._projector: Projector | None = None
        kept: KeptPrompts | None = None
        try:
            if options.projector:
                threads, gpu = load_plan.threads, load_plan.gpu_layers != 0
                self._projector = Projector(self._weights, options.projector, threads=threads, gpu=gpu)
            self._draft_weights = _open_draft(self._weights, options)
            shape, self._growth = load_plan.shape, None
            self._width = (shape.sequences, "configured")
            widest = msgspec.structs.replace(shape, threads=load_plan.most_threads)
            measure = partial(known_width, self._weights, self.summary.path, widest)
            if load_plan.grows:
                self._growth = Growth(self._weights, self._room(measure, claim))
                few = load_plan.first_sequences
                shape = msgspec.structs.replace(shape, sequences=few, tokens=few * load_plan.first_context)
            elif load_plan.measure:
                self._width = measure()
                shape = msgspec.structs.replace(shape, sequences=self._width[0])
            context = Context(self._weights, shape)
            prefixes = options.prefix_tokens if options.prefix_tokens >= 0 else 1 << 60
            limits = SchedulerLimits(
                slots=shape.sequences,
                slot_tokens=min(load_plan.context, context.sequence_tokens),
                pool_tokens=context.total_tokens,
                batch=options.batch,
                queue=options.queue,
                unified=shape.unified,
                shares=not self._weights.recurrent,
                prefix_tokens=prefixes,
            )
            kept = self._kept_prompts(context)
            self._engine = Engine(
                self._weights,
                context,
                limits,
                options.step_ms / 1000,
                self.summary.architecture,
                (load_plan.threads, load_plan.most_threads),
                self._growth,
                kept,
                _speculation(self._weights, context, options, self._draft_weights),
            )
            if options.lora:
                self._engine.cache.adapters([(self._adapter(lora.path), lora.scale) for lora in options.lora])
        except BaseException:
            if context is not None:
                context.close()
            if self._projector is not None:
                self._projector.close()
            if kept is not None:
                kept.close()
            if self._draft_weights is not None:
                self._draft_weights.close()
            self._weights.close()
            raise
        weights = self._weights
        control = tuple(weights.text_of(token) for token in weights.control)
        self.loaded = LoadedModel(
            summary=self.summary,
            context=self._growth.longest if self._growth is not None else limits.slot_tokens,
            context_chosen=load_plan.context_chosen,
            bos=weights.text_of(weights.bos) if weights.adds_bos and weights.bos >= 0 else "",
            eos=weights.text_of(weights.eos) if weights.eos >= 0 else "",
            control=control,
            sees=self._projector is not None,
        )
        self._closed = threading.Event()
        if kept is not None:
            kept.wait_until_open()
        self._engine.thread.start()

    def _room(self, measure: Callable[[], tuple[int, str]], claim: Claim) -> Room:
        """Returns how far the cache may grow."""
        load_plan = self._plan
        return Room(
            load_plan.shape,
            measure if load_plan.measure else lambda: self._width,
            longest=load_plan.context,
            most_tokens=load_plan.most_tokens,
            fixed=not load_plan.measure,
            token_bytes=load_plan.kv_bytes // load_plan.shape.tokens,
            claim=claim,
        )

    def _kept_prompts(self, context: Context) -> KeptPrompts | None:
        """What is kept of prompts outside the KV cache, where that is asked for and the model's states can be cut."""
        options, weights = self._options, self._weights
        if not options.cache_bytes or self.summary.ranks:
            return None
        if weights.recurrent or weights.sliding_window or not weights.causal:
            logger.warning(
                "`cache_mb` and `cache_dir` do nothing for this model: the state of a %s cannot be cut by tokens",
                "sliding window" if weights.sliding_window else "model of this kind",
            )
            return None
        self._long_text = weights.goes_beyond(context.sequence_tokens)
        if self._growth is not None and weights.goes_beyond(self._growth.longest) != self._long_text:
            logger.warning(
                "`cache_mb` and `cache_dir` do nothing for this model at this `context`: its positions change once the"
                " cache is longer than %d tokens",
                context.sequence_tokens,
            )
            return None
        return KeptPrompts(
            KeptOptions(
                token_bytes=self.summary.kv_bytes(1, options.kv_type),
                memory_bytes=options.cache_bytes,
                folder=options.cache_dir,
                disk_bytes=options.cache_disk_mb << 20,
            ),
            self._key([(lora.path, lora.scale) for lora in options.lora]),
        )

    def _key(self, adapters: Sequence[tuple[str, float]]) -> Callable[[], str]:
        """Makes the key of the states under these adapters, which may read whole files."""
        files = (self.summary.path, self._options.projector)
        return partial(model_key, files, adapters, self._plan.shape, self._plan.gpu_layers, self._long_text)

    def _adapter(self, path: str) -> int:
        if path not in self._adapters:
            self._adapters[path] = self._weights.adapter(path)
        return self._adapters[path]

    # --- texts and tokens ---

    def _tokens(self, parts: Sequence[str], *, start: bool, special: bool) -> list[int]:
        self._engine.thread.require_open()
        ids: list[int] = []
        for index, part in enumerate(parts):
            ids += self._weights.tokenize(part, special=special, start=start and index == 0)
        return ids

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        if pictures:
            until = time.monotonic() + METHOD_SECONDS
            return (await prepare(lambda: self._with_images(parts, pictures), until, METHOD_SECONDS))[0]
        if sum(map(len, parts)) > _LONG_TEXT:
            until = time.monotonic() + METHOD_SECONDS
            return await prepare(lambda: self._tokens(parts, start=start, special=special), until, METHOD_SECONDS)
        return self._tokens(parts, start=start, special=special)

    def _with_images(self, parts: Sequence[str], pictures: Sequence[bytes]) -> Prompt:
        """Returns a prompt with pictures in place of their marks. It takes long: each is encoded."""
        tokens: list[int] = []
        images: list[ImageAt] = []
        following = iter(pictures)
        projector = self._projector
        assert projector is not None
        with self._weights.in_use():
            for index, part in enumerate(parts):
                if part == MARK:
                    add_image(tokens, images, projector.encode(next(following)))
                else:
                    tokens += self._weights.tokenize(part, special=True, start=index == 0)
        whole = max([len(image.rows.stand_ins) for image in images if not image.rows.causal], default=0)
        if whole > self._options.batch:
            raise BadOption(
                f"a picture takes {whole} rows, which are computed together; `batch` is {self._options.batch}",
                field="messages",
                hint=f"load the model with a `batch` of {whole}",
            )
        return tokens, images

    async def detokenize(self, tokens: Sequence[int]) -> str:
        self._check_tokens(tokens, "tokens")
        with self._weights.in_use():
            return b"".join(self._weights.piece(token) for token in tokens).decode("utf-8", "replace")

    async def _tokens_of(self, text: str | Sequence[int]) -> list[int]:
        """The tokens of a text that is to be embedded."""
        if isinstance(text, str):
            return await self.tokenize([text], start=True, special=False)
        self._check_tokens(text, "texts")
        return list(text)

    def _check_tokens(self, tokens: Sequence[int], field: str) -> None:
        """Raises `BadOption` for a token that this model does not have: llama.cpp would end the process."""
        if any(not 0 <= token < self._weights.vocabulary for token in tokens):
            raise BadOption(f"a token is between 0 and {self._weights.vocabulary - 1}", field=field)

    # --- calls ---

    async def start(self, request: GenerationRequest, deliver: Deliver) -> RunningCall:
        asked, within = time.monotonic(), request.within or request.options.within
        if self._is_short(request):
            prompt, sampler = self._prepare_call(request), None
        else:
            prompt, sampler = await prepare(
                lambda: self._prepare_long_call(request), asked + within, request.options.within, _close_sampler
            )
        try:
            return self._submit(prompt, request, deliver, None, asked, sampler)
        except BaseException:
            if sampler is not None:
                sampler.close()
            raise

    def start_at_once(self, request: GenerationRequest, deliver: Deliver, take: Take) -> RunningCall | None:
        if not self._is_short(request):
            return None
        asked = time.monotonic()
        return self._submit(self._prepare_call(request), request, deliver, take, asked, None)

    @staticmethod
    def _is_short(request: GenerationRequest) -> bool:
        long = len(request.grammar) > _LONG_GRAMMAR or sum(map(len, request.parts)) > _LONG_TEXT
        return not (long or request.pictures)

    def _prepare_call(self, request: GenerationRequest) -> Prompt:
        """Checks the grammar and the length of a call, and returns its prompt."""
        if request.grammar and request.opens is None:
            for name in check_grammar(request.grammar):
                if len(self._weights.tokenize(name, special=True, start=False)) != 1:
                    raise BadGrammar(f"the grammar names {name}, which is no token of this model", field="grammar")
        self._check_tokens([int(token) for token in request.options.logit_bias], "logit_bias")
        characters, room = sum(map(len, request.parts)), self.loaded.context
        least = characters // self._longest_token
        if least > room:  # to tokenize it would take seconds
            raise self._too_long(least)
        images: Sequence[ImageAt] = ()
        if request.pictures:
            self._engine.thread.require_open()
            tokens, images = self._with_images(request.parts, request.pictures)
        elif request.tokens:
            self._engine.thread.require_open()
            self._check_tokens(request.tokens, "prompt")
            tokens = list(request.tokens)
        else:
            tokens = self._tokens(request.parts, start=True, special=request.special)
        if not tokens:
            raise BadOption("the prompt is empty", field="messages")
        if len(tokens) >= room:
            raise self._too_long(len(tokens))
        if images and images[-1].end == len(tokens):
            raise BadOption("nothing follows the last picture: a prompt ends with text", field="messages")
        return tokens, images

    def _too_long(self, tokens: int) -> PromptTooLong:
        context = self.loaded.context
        return PromptTooLong(tokens, context - 1, how_to_have_more(context, self.summary.context, self._options))

    def _prepare_long_call(self, request: GenerationRequest) -> tuple[Prompt, Sampler | None]:
        """Returns the prompt of a call, and its sampler where that takes long to build."""
        prompt = self._prepare_call(request)
        if len(request.grammar) <= _LONG_GRAMMAR:
            return prompt, None
        with self._weights.in_use():
            return prompt, Sampler(self._weights, self._sampling(request))

    def _sampling(self, request: GenerationRequest) -> Sampling:
        """The sampling of a call. A grammar that begins behind a mark is a help that some tools cannot have, whose
        grammar is too large."""
        grammar, opens = request.grammar, request.opens
        if opens is not None and not _is_sound(grammar):
            grammar, opens = "", None
        return sampling_of(request.options, grammar, opens, self._shown(request.shows))

    def _shown(self, marks: Sequence[str]) -> dict[int, bytes]:
        """Control tokens that are marks of an answer, with their texts: they have none otherwise."""
        tokens = {mark: self._token_of(mark) for mark in marks}
        return {token: mark.encode() for mark, token in tokens.items() if token >= 0 and not self._weights.piece(token)}

    def _token_of(self, mark: str) -> int:
        """The token that a text is; -1 where it is several."""
        token = self._marks.get(mark)
        if token is None:
            tokens = self._weights.tokenize(mark, special=True, start=False)
            token = self._marks[mark] = tokens[0] if len(tokens) == 1 else -1
        return token

    def _submit(
        self,
        prompt: Prompt,
        request: GenerationRequest,
        deliver: Deliver,
        take: Take | None,
        asked: float,
        sampler: Sampler | None,
    ) -> RunningCall:
        loop_side = self._loop_side()
        ticket = Ticket(
            tokens=prompt[0],
            images=prompt[1],
            options=request.options,
            sampling=self._sampling(request),
            post=loop_side if take is None else DirectPost(loop_side, take),
            deliver=deliver,
            pieces=request.pieces,
            asked=asked,
            deadline=asked + (request.within or request.options.within),
            sampler=sampler,
        )
        loop_side.submit(ticket)
        return RunningCall(cancel=lambda: self._engine.cancel(ticket))

    def _loop_side(self) -> LoopSide:
        loop = asyncio.get_running_loop()
        loop_side = self._loop_sides.get(loop)
        if loop_side is None:
            loop_side = self._loop_sides[loop] = LoopSide(loop, self._engine)
        return loop_side

    async def _on_engine(self, run: Callable[[], T]) -> T:
        """Runs `run` on the engine's thread between two steps, and waits for its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: LocalModelError | None) -> None:
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                else:
                    future.set_result(value)  # type: ignore[arg-type]

        def command() -> None:
            value, problem = None, None
            try:
                self._engine.thread.require_open()
                value = run()
            except LocalModelError as error:
                problem = error
            except BaseException as error:  # it ends the engine; this caller gets an error first
                problem = EngineFailed(f"the engine failed: {error!r}")
                raise
            finally:
                loop.call_soon_threadsafe(settle, value, problem)

        self._engine.thread.command(command)
        return await future

    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        return await self._on_engine(lambda: self._engine.cache.save(tokens))

    async def restore(self, tokens: list[int], state: bytes) -> bool:
        return await self._on_engine(lambda: self._engine.cache.restore(tokens, state))

    async def set_lora(self, adapters: Sequence[Lora]) -> None:
        chosen = [(lora.path, lora.scale) for lora in adapters]

        def put_on() -> None:
            self._engine.cache.adapters([(self._adapter(path), scale) for path, scale in chosen])
            if self._engine.keeping is not None:
                self._engine.keeping.start_over(self._key(chosen))

        await self._on_engine(put_on)

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        if self.summary.ranks:
            raise BadOption("this model reranks documents, and gives no embeddings", field="model")
        ids = [await self._tokens_of(text) for text in texts]
        for tokens in ids:
            self._check_length(tokens, "texts")
        return await self._one_by_one(ids, self._embedding)

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        if not self.summary.ranks:
            raise BadOption(
                "this model reranks no documents: its file names no pooling type RANK",
                field="model",
                hint="load a reranker, such as bge-reranker or jina-reranker in GGUF",
            )
        pairs = []
        for document in documents:
            tokens: list[int] = []
            for part in self._pairs.of(query, document):
                if isinstance(part, int):
                    tokens.append(part)
                else:
                    tokens += await self.tokenize([part.text], start=False, special=part.special)
            self._check_length(tokens, "documents")
            pairs.append(tokens)
        return await self._one_by_one(pairs, self._score), sum(map(len, pairs))

    def _check_length(self, tokens: Sequence[int], field: str) -> None:
        if not tokens:
            raise BadOption("an empty text", field=field)
        if len(tokens) > self._longest_text:
            trained, longest = self._weights.trained_context, self._longest_text
            more = f"load the model with a `context` of up to {trained}" if trained > longest else ""
            raise PromptTooLong(len(tokens), longest, more)

    @property
    def _longest_text(self) -> int:
        return min(self._weights.trained_context or 512, max(self._options.context, 2048))

    async def _one_by_one(self, ids: Sequence[list[int]], compute: Callable[[list[int]], T]) -> list[T]:
        """Computes something of each text on the engine's thread, with steps of other calls between."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[T]] = loop.create_future()

        def settle(result: list[T] | LocalModelError) -> None:
            if future.done():
                return
            if isinstance(result, LocalModelError):
                future.set_exception(result)
            else:
                future.set_result(result)

        def report(result: list[T] | LocalModelError) -> None:
            try:
                loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                pass  # the loop is closed, and so is the caller

        results: list[T] = []

        def advance() -> bool:
            if future.cancelled():
                return False
            try:
                results.append(compute(ids[len(results)]))
            except LocalModelError as error:
                report(error)
                return False
            if len(results) == len(ids):
                report(results)
            return len(results) < len(ids)

        if not ids:
            return []
        self._engine.job(Job(advance, report))
        return await future

    def _embedding(self, tokens: list[int]) -> list[float]:
        """Computes a vector on the engine's thread."""
        vector = self._pooled(tokens).pooled(0, len(tokens) - 1)
        length = float(np.linalg.norm(vector))
        return [float(x) for x in (vector / length if length else vector)]

    def _score(self, tokens: list[int]) -> float:
        """Computes the score of a query with a document on the engine's thread."""
        return self._pooled(tokens).score(0)

    def _pooled(self, tokens: list[int]) -> Context:
        """Decodes a text in a separate context that outputs every token."""
        if self._embedder is None:
            size = -(-self._longest_text // 256) * 256
            self._embedder = Context(
                self._weights,
                ContextShape(
                    sequences=1,
                    tokens=size,
                    batch=size,
                    threads=self._plan.threads,
                    unified=True,
                    embeddings=True,
                ),
            )
        context, count = self._embedder, len(tokens)
        context.clear()
        context.tokens[:count] = tokens
        context.positions[:count] = range(count)
        context.sequence[:count] = 0
        context.wanted[:count] = 1
        if context.decode(count) != 0:
            raise EngineFailed("llama.cpp could not read this text")
        return context

    async def statistics(self) -> Statistics:
        load_plan, growth = self._plan, self._growth
        width, chosen = self._width
        if growth is not None and load_plan.measure:
            width, chosen = growth.most, growth.words or NOT_MEASURED
        counted = await self._on_engine(self._engine.statistics)
        return Statistics(
            path=self.summary.path,
            architecture=self.summary.architecture,
            device=load_plan.device,
            layout="unified" if load_plan.shape.unified else "split",
            width=width,
            width_chosen=chosen,
            context=self.loaded.context,
            context_chosen=load_plan.context_chosen,
            kv_type=load_plan.shape.kv_type,
            gpu_layers=load_plan.gpu_layers,
            memory_bytes=self.memory_bytes,
            **counted,
        )

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights, of those of a draft model and a projector, and of the KV cache."""
        shape = self._engine.context.shape
        others = sum(each.size_bytes for each in (self._projector, self._draft_weights) if each is not None)
        return self._weights.size_bytes + self.summary.kv_bytes(shape.tokens, shape.kv_type) + others

    # --- end ---

    async def close(self) -> None:
        """Ends the calls, waits for the step in progress, then frees context and weights."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def ended() -> None:
            self._free()
            try:
                loop.call_soon_threadsafe(done.set)
            except RuntimeError:
                pass

        if self._engine.thread.ended:  # by a failure: the weights are freed once nobody tokenizes, which takes a while
            threading.Thread(target=ended, name="local-model-free", daemon=True).start()
        else:
            self._engine.thread.close(ended)
        while not done.is_set():
            try:
                async with asyncio.timeout(1):
                    await done.wait()
            except TimeoutError:
                if self._closed.is_set():
                    return

    def _free(self) -> None:
        """Frees all but the context, which the engine has freed. Waits for threads that tokenize."""
        if not self._closed.is_set():
            embedder, self._embedder = self._embedder, None
            if embedder is not None:
                embedder.close()
            if self._projector is not None:
                self._projector.close()
            if self._draft_weights is not None:
                self._draft_weights.close()
            self._weights.close()
            release_free_memory()
            self._closed.set()

    def abandon(self) -> None:
        """Frees the memory on the engine's thread, without waiting."""
        self._engine.thread.close(self._free)
