"""Backend in this process: takes the calls and methods of a loaded model from event loops to its engine."""

import asyncio
import threading
import time
import weakref
from collections.abc import Sequence

from local_models.backend import Claim, Deliver, GenerationRequest, LoadedModel, RunningCall, Take, granted
from local_models.engine.assembly import ModelParts
from local_models.engine.call_sampling import LONG_GRAMMAR, CallSampling
from local_models.engine.from_loop import on_engine
from local_models.engine.loop_side import DirectPost, LoopSide
from local_models.engine.prompt_reader import LONG_TEXT, Prompt, PromptReader
from local_models.engine.tickets import Ticket
from local_models.engine.vectors import TextVectors
from local_models.llama import Sampler
from local_models.llama.opening import OpenedModel
from local_models.options import LoadOptions, Lora
from local_models.prompts.preparing import prepare
from local_models.replies import Statistics


def _close_sampler(prepared: tuple[Prompt, Sampler | None]) -> None:
    if prepared[1] is not None:
        prepared[1].close()


class InProcessBackend:
    """Backend whose engine is a thread of this process. The constructor makes the KV cache of a model that was opened.

    `claim` is asked before the cache takes more than at load.
    """

    def __init__(self, opened: OpenedModel, options: LoadOptions, claim: Claim = granted) -> None:
        parts = self._parts = ModelParts(opened, options, claim)
        weights, engine, summary = parts.weights, parts.engine, parts.summary
        self._engine = engine
        self._loop_sides: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopSide]
        self._loop_sides = weakref.WeakKeyDictionary()
        self._reader = PromptReader(
            weights,
            parts.projector,
            options,
            most=parts.longest,
            longest_token=opened.facts.longest_token,
            trained=summary.context,
            require_open=engine.thread.require_open,
        )
        self._sampling = CallSampling(weights)
        self._vectors = TextVectors(weights, summary, options, self._reader, engine)
        self.loaded = LoadedModel(
            summary=summary,
            context=parts.longest,
            context_chosen=parts.plan.context_chosen,
            bos=weights.text_of(weights.bos) if weights.adds_bos and weights.bos >= 0 else "",
            eos=weights.text_of(weights.eos) if weights.eos >= 0 else "",
            control=tuple(weights.text_of(token) for token in weights.control),
            sees=parts.projector is not None,
        )
        self._closed = threading.Event()
        parts.start()

    # --- calls ---

    async def start(self, request: GenerationRequest, deliver: Deliver) -> RunningCall:
        asked, within = time.monotonic(), request.within or request.options.within
        if self._is_short(request):
            prompt, sampler = self._reader.read(request), None
        else:
            prompt, sampler = await prepare(
                lambda: (self._reader.read(request), self._sampling.built(request)),
                asked + within,
                request.options.within,
                _close_sampler,
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
        return self._submit(self._reader.read(request), request, deliver, take, asked, None)

    @staticmethod
    def _is_short(request: GenerationRequest) -> bool:
        long = len(request.grammar) > LONG_GRAMMAR or sum(map(len, request.parts)) > LONG_TEXT
        return not (long or request.pictures)

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
            sampling=self._sampling.of(request),
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

    # --- methods ---

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        return await self._reader.tokenize(parts, start=start, special=special, pictures=pictures)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return self._reader.detokenize(tokens)

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        return await self._vectors.embed(texts)

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        return await self._vectors.rank(query, documents)

    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        return await on_engine(self._engine, lambda: self._engine.cache.save(tokens))

    async def restore(self, tokens: list[int], state: bytes) -> bool:
        return await on_engine(self._engine, lambda: self._engine.cache.restore(tokens, state))

    async def set_lora(self, adapters: Sequence[Lora]) -> None:
        await on_engine(self._engine, lambda: self._parts.put_on(adapters))

    async def statistics(self) -> Statistics:
        parts = self._parts
        width, chosen = parts.width
        counted = await on_engine(self._engine, self._engine.statistics)
        return Statistics(
            path=parts.summary.path,
            architecture=parts.summary.architecture,
            device=parts.plan.device,
            layout="unified" if parts.plan.shape.unified else "split",
            width=width,
            width_chosen=chosen,
            context=self.loaded.context,
            context_chosen=parts.plan.context_chosen,
            kv_type=parts.plan.shape.kv_type,
            gpu_layers=parts.plan.gpu_layers,
            memory_bytes=self.memory_bytes,
            **counted,
        )

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights, of those of a draft model and a projector, and of the KV cache."""
        return self._parts.memory_bytes

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
            self._vectors.close()
            self._parts.free()
            self._closed.set()

    def abandon(self) -> None:
        """Frees the memory on the engine's thread, without waiting."""
        self._engine.thread.close(self._free)
