"""Batch endpoints of one provider over HTTP: codec, address and key of its calls, and the codec of its batches."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from three_mode.channels.channel import too_large
from three_mode.channels.http import HTTPEndpoint
from three_mode.errors import LLMError, NotFound, ThreeModeError
from three_mode.messages import LLMResponse
from three_mode.providers.batches import (
    BatchCodec,
    BatchPage,
    LineOutcome,
    LineProblem,
    ProviderBatch,
    batch_codec,
)
from three_mode.providers.codec import Outgoing
from transports.http2 import (
    ConnectFailed,
    InvalidRequest,
    LimitExceeded,
    NDJSONDecoder,
    PoolFull,
    TimedOut,
    TransportError,
)

T = TypeVar("T")
# Codes for which a whole batch is refused -> the status that such a refusal of a live call has, where it is not 400.
_STATUSES = {"token_limit_exceeded": 429}
# Statuses of a gateway that lost the answer of the server behind it.
_LOST_BEHIND_A_GATEWAY = frozenset({408, 502, 504, 520, 522, 524})


class AnswerLost(Exception):
    """The request may have been done: it was sent, and its answer did not come. `error` says why."""

    def __init__(self, error: ThreeModeError) -> None:
        super().__init__(error.message)
        self.error = error


class BatchEndpoint:
    """One provider's batches. Deadlines are in the loop's time."""

    def __init__(self, endpoint: HTTPEndpoint) -> None:
        self._endpoint = endpoint
        self.codec: BatchCodec = batch_codec(endpoint.codec.profile)
        self.name = endpoint.name

    async def upload(self, outgoing: Outgoing, until: float) -> str:
        """Uploads the requests of a batch; its id. Twice does no harm."""
        return await self._ask(outgoing, until, self.codec.read_upload)

    async def create(self, outgoing: Outgoing, until: float) -> ProviderBatch:
        """Begins a batch. AnswerLost: nobody knows whether it began."""
        try:
            body = await self._endpoint.exchange(outgoing, until)
        except TransportError as error:
            raise self._failure(error, lost=not _unsent(error)) from None
        except LLMError as error:
            if error.status in _LOST_BEHIND_A_GATEWAY:
                raise AnswerLost(error) from None
            raise
        try:
            return self.codec.read(body)
        except LLMError as error:
            raise AnswerLost(self._endpoint.cleaned(error)) from None

    async def retrieve(self, batch: str, until: float) -> ProviderBatch:
        """How a batch is."""
        return await self._ask(self.codec.retrieve(batch), until, self.codec.read)

    async def cancel(self, batch: str, until: float) -> ProviderBatch:
        """Asks the provider to end a batch."""
        return await self._ask(self.codec.cancel(batch), until, self.codec.read)

    async def page(self, after: str | None, until: float) -> BatchPage:
        """A page of the list of batches, newest first."""
        return await self._ask(self.codec.listing(after), until, self.codec.read_page)

    async def read_lines(self, path: str, until: float, take: Callable[[bytes], bool]) -> None:
        """Gives each line of results to `take` as it comes, until that returns False. A longer line than a reply may
        be, and a cut, are errors."""
        decoder = NDJSONDecoder(self._endpoint.reply_bytes)
        try:
            async with asyncio.timeout_at(until), aclosing(self._endpoint.download(self.codec.download(path))) as body:
                async for data in body:
                    if not all(map(take, decoder.feed(data))):
                        return
            for line in decoder.finish():
                take(line)
        except LimitExceeded:
            raise too_large(self.name, None, self._endpoint.reply_bytes) from None
        except TransportError as error:
            raise self._failure(error) from None
        except TimeoutError:
            raise self._endpoint.too_late("", "total") from None

    def reply(self, outcome: LineOutcome) -> LLMResponse | LLMError:
        """The reply or refusal of a result, read as that of a live call; only for one that was answered."""
        codec, request_id = self._endpoint.codec, outcome.request_id
        if outcome.reply is not None:
            try:
                return codec.decode(outcome.reply)
            except LLMError as error:
                error.request_id = error.request_id or request_id
                return self._endpoint.cleaned(error)
        headers = ((b"x-request-id", request_id.encode("latin-1", "replace")),) if request_id else ()
        return self._endpoint.cleaned(codec.error(outcome.status, headers, outcome.refusal or b""))

    def refusal(self, problem: LineProblem) -> LLMError:
        """The error of requests whose batch was refused, or of one of them."""
        said = msgspec.json.encode({"error": {"message": problem.message, "code": problem.code}})
        return self._endpoint.cleaned(self._endpoint.codec.error(_STATUSES.get(problem.code or "", 400), (), said))

    async def _ask(self, outgoing: Outgoing, until: float, read: Callable[[bytes], T]) -> T:
        try:
            body = await self._endpoint.exchange(outgoing, until)
        except TransportError as error:
            raise self._failure(error) from None
        except NotFound as error:
            error.hint = "is this the key of the account that submitted it, and does this address have batches?"
            raise
        try:
            return read(body)
        except LLMError as error:
            raise self._endpoint.cleaned(error) from None

    def _failure(self, error: TransportError, lost: bool = False) -> Exception:
        late = isinstance(error, TimedOut) and error.phase == "total"
        failed: ThreeModeError = self._endpoint.too_late("", "total") if late else self._endpoint.failure(error, "")
        return AnswerLost(failed) if lost else failed


def _unsent(error: TransportError) -> bool:
    """Whether the server certainly did not act on the request."""
    if error.unprocessed or isinstance(error, ConnectFailed | PoolFull | InvalidRequest):
        return True
    return isinstance(error, TimedOut) and error.phase in ("connect", "pool")
