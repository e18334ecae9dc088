"""AI-PC mode: requests to models in this process, each loaded at its first request and kept while there is room."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import local_models
from local_models import LoadOptions, LocalModelError, ModelPool, PieceStream, Statistics
from three_mode.channels.local import values as wire
from three_mode.channels.local.streams import LocalBatches, LocalFlow, PartSender, shown
from three_mode.channels.replies import BatchReply, open_batches
from three_mode.errors import DeadlineExceeded, UnsupportedParameter
from three_mode.messages import (
    Embedded,
    EmbedRequest,
    LLMRequest,
    LLMResponse,
    Ranked,
    Reranked,
    RerankRequest,
    Usage,
)
from three_mode.messages.reranking import best_first
from three_mode.policies import Target
from three_mode.providers.fitting import FittedDefaults


class LocalChannel:
    """Runs models by path or catalogued name, several under one memory budget."""

    def __init__(
        self,
        options: LoadOptions | None = None,
        memory_bytes: int | None = None,
        models: Mapping[str, LoadOptions] = {},  # it is only read
        files: Mapping[str, str] = {},
    ) -> None:
        self._pool = ModelPool(memory_bytes, options, models=models, files=files)

    async def load(self, name: str) -> None:
        """Loads it now, so that what is wrong with it is said now."""
        try:
            (await self._pool.lease(name)).release()
        except LocalModelError as error:
            raise wire.error_of(error, name) from error

    async def fetch(self, target: Target, request: LLMRequest, due: float, deadline: float) -> LLMResponse:
        started = time.monotonic()
        try:
            async with self._pool.use(target.model, _within(deadline)) as model:
                options = wire.options_of(request, _within(deadline))
                if request.prompt is not None:
                    reply = await model.complete(request.prompt, **options)
                else:
                    reply = await model.chat(wire.messages_of(request), **options)
        except LocalModelError as error:
            raise wire.error_of(error, target.model) from error
        return wire.response_of(reply, shown(target.model), time.monotonic() - started, "")

    async def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> BatchReply:
        batches = self.batches(target.model, request, _within(deadline))
        # The engine keeps the deadline of the whole call; only an earlier one needs a watch of ours.
        first = due if due < deadline else None
        return await open_batches(batches, batches.close, first, target.model)

    def batches(self, name: str, request: LLMRequest, within: float) -> LocalBatches:
        """An answer that begins when it is first asked for something."""
        return LocalBatches(lambda: self._begin(name, request, within), name)

    def flow(self, name: str, request: LLMRequest, within: float, parts: PartSender) -> "asyncio.Future[None] | None":
        """An answer that begins now and goes out by `parts`, from the engine's own thread where that needs no waiting.
        The future is done when all of it has gone; cancelling it ends the call. None: it cannot begin without waiting.
        """
        if request.prompt is not None:
            return None
        messages, options = wire.messages_of(request), wire.options_of(request, within)
        lease = self._pool.lease_at_once(name)
        if lease is None:
            return None
        try:
            return LocalFlow(lease, name, parts).begin(messages, options)
        except LocalModelError as error:
            raise wire.error_of(error, name) from error

    async def _begin(self, name: str, request: LLMRequest, within: float) -> tuple[PieceStream, local_models.Lease]:
        deadline = asyncio.get_running_loop().time() + within
        try:
            lease = await self._pool.lease(name, within)
            try:
                options = wire.options_of(request, _within(deadline))
                if request.prompt is not None:
                    stream = lease.model.stream_complete(request.prompt, **options)
                else:
                    stream = lease.model.stream(wire.messages_of(request), **options)
            except BaseException:
                lease.release()
                raise
        except LocalModelError as error:
            raise wire.error_of(error, name) from error
        return stream, lease

    async def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Embedded:
        name = target.model
        for field in request.extra:
            raise UnsupportedParameter(
                f"a local model embeds without {field}", field=f"extra.{field}", provider=wire.PROVIDER, model=name
            )
        try:
            async with asyncio.timeout_at(deadline), self._pool.use(name) as model:
                width = model.summary.embedding
                if request.dimensions not in (None, width):
                    raise UnsupportedParameter(
                        f"{shown(name)} gives vectors of {width} dimensions, and no others",
                        field="dimensions",
                        provider=wire.PROVIDER,
                        model=name,
                        hint="leave dimensions out, or cut the vectors where the model was trained for that",
                    )
                vectors = await model.embed(request.inputs)
                used = sum(map(len, request.tokens)) or sum([await model.count(text) for text in request.texts])
        except LocalModelError as error:
            raise wire.error_of(error, name) from error
        except TimeoutError:
            raise DeadlineExceeded(
                f"{name}: no vectors came in the time allowed", provider=wire.PROVIDER, model=name
            ) from None
        return Embedded(tuple(map(tuple, vectors)), shown(name), Usage(input_tokens=used), wire.PROVIDER)

    async def rerank(self, target: Target, request: RerankRequest, deadline: float) -> Reranked:
        name = target.model
        for field in request.extra:
            raise UnsupportedParameter(
                f"a local model reranks without {field}", field=f"extra.{field}", provider=wire.PROVIDER, model=name
            )
        try:
            async with asyncio.timeout_at(deadline), self._pool.use(name) as model:
                scores, used = await model.rerank(request.query, request.documents)
        except LocalModelError as error:
            raise wire.error_of(error, name) from error
        except TimeoutError:
            raise DeadlineExceeded(
                f"{name}: the documents were not ranked in the time allowed", provider=wire.PROVIDER, model=name
            ) from None
        results = best_first((Ranked(index, score) for index, score in enumerate(scores)), request)
        return Reranked(results, shown(name), Usage(input_tokens=used), wire.PROVIDER)

    async def context(self, name: str) -> int:
        """The most tokens of one conversation with a model."""
        try:
            async with self._pool.use(name) as model:
                return model.context
        except LocalModelError as error:
            raise wire.error_of(error, name) from error

    async def count(self, name: str, request: LLMRequest) -> int:
        """The tokens of the prompt that a request becomes, by the model's own template and tokenizer."""
        try:
            async with self._pool.use(name) as model:
                if request.prompt is not None:
                    return await model.count_prompt(request.prompt)
                return await model.count(wire.messages_of(request), **wire.options_of(request, None))
        except LocalModelError as error:
            raise wire.error_of(error, name) from error

    async def count_texts(self, name: str, texts: Sequence[str]) -> list[int]:
        """The tokens of bare texts."""
        try:
            async with self._pool.use(name) as model:
                return [await model.count(text) for text in texts]
        except LocalModelError as error:
            raise wire.error_of(error, name) from error

    async def statistics(self) -> list[tuple[str, Statistics]]:
        """Each loaded model, by the name that clients use, and its statistics."""
        return [(shown(name), each) for name, each in (await self._pool.statistics()).items()]

    async def close(self) -> None:
        await self._pool.close()


def _within(deadline: float) -> float:
    return max(0.001, deadline - asyncio.get_running_loop().time())


class LocalAnswers:
    """`defaults` are for requests that do not say."""

    __slots__ = ("_channel", "_defaults", "_name", "_time_of")

    def __init__(
        self,
        channel: LocalChannel,
        name: str,
        defaults: FittedDefaults | None,
        time_of: Callable[[float | None], float],
    ) -> None:
        self._channel, self._name, self._defaults, self._time_of = channel, name, defaults, time_of

    def __call__(self, request: LLMRequest, model: str, within: float | None) -> LocalBatches:
        """One in batches of chunks."""
        return self._channel.batches(self._name, self._completed(request), self._time_of(within))

    def flow(self, request: LLMRequest, within: float | None, parts: PartSender) -> "asyncio.Future[None] | None":
        """One that goes out by `parts`, if it can begin now: see local_flow.py."""
        return self._channel.flow(self._name, self._completed(request), self._time_of(within), parts)

    async def context(self) -> int:
        """The most tokens of one conversation."""
        return await self._channel.context(self._name)

    async def count(self, request: LLMRequest) -> int:
        """The tokens of the prompt that a request becomes."""
        return await self._channel.count(self._name, self._completed(request))

    async def count_texts(self, texts: Sequence[str]) -> list[int]:
        """The tokens of bare texts."""
        return await self._channel.count_texts(self._name, texts)

    def _completed(self, request: LLMRequest) -> LLMRequest:
        return request if self._defaults is None else self._defaults.applied_to(request)
