"""One provider over HTTP: a codec, an address and a key on the shared pool; and errors of the transport as ours."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextvars import copy_context

from three_mode import waits
from three_mode.channels.channel import REPLY_BYTES, too_large
from three_mode.channels.replies import DecodedReply
from three_mode.config.secret import Secret
from three_mode.errors import (
    BadReply,
    ConfigurationError,
    ConnectionFailed,
    DeadlineExceeded,
    LLMError,
    NotFound,
    Overloaded,
    ReplyTooLarge,
    ThreeModeError,
)
from three_mode.messages import (
    Chunk,
    Embedded,
    EmbedRequest,
    LLMRequest,
    LLMResponse,
    Reranked,
    RerankRequest,
    chunks_of,
)
from three_mode.providers import embeddings, reranking, token_counts
from three_mode.providers.codec import Codec, Header, Headers, LimitReading, Outgoing
from three_mode.providers.refusals import cleaned, secrets_of
from transports.http2 import (
    ConnectFailed,
    Exchange,
    InvalidRequest,
    LimitExceeded,
    PeerMisbehaved,
    Pool,
    PoolClosed,
    PoolFull,
    ProxyFailed,
    Request,
    Response,
    TimedOut,
    Timeouts,
    TLSFailed,
    Trace,
    TransportError,
    split_url,
)

CONNECT = 10.0
WRITE = 30.0
IDLE = 60.0  # a stream that says nothing for that long, not even a keep-alive, is dead
WAIT_FOR_END = 0.25  # for the end of a stream after its end marker
AGENT: tuple[Header, ...] = ((b"user-agent", b"three-mode"),)
# A whole reply has one limit, its deadline, which the caller holds.
WHOLE = Timeouts(connect=CONNECT, pool=None, write=WRITE, first_byte=None, idle=None)
MOST_OF_AN_ERROR = 1024 * 1024


class HTTPEndpoint:
    """`fetch` for a whole reply, `open` for one that streams."""

    def __init__(
        self,
        codec: Codec,
        pool: Pool,
        base_url: str,
        key: Secret | None,
        headers: Mapping[str, str] | None = None,
        learn: Callable[[LimitReading], None] | None = None,
        idle: float = IDLE,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        self.codec = codec
        self.name = codec.profile.name
        self.base_url = base_url.rstrip("/")
        self.reply_bytes = reply_bytes
        self._pool = pool
        try:
            self._origin, prefix = split_url(self.base_url + "/")
        except TransportError as error:
            raise error_of(error, self.name, None) from None
        self._prefix = prefix[:-1]
        self._learn = learn
        self._silent: Headers | None = None  # the last that said nothing of limits
        self._streams = Timeouts(connect=CONNECT, pool=None, write=WRITE, first_byte=None, idle=idle)
        more = {**codec.profile.headers, **(headers or {})}
        self._always = (
            codec.authorization(key.reveal() if key else None)
            + AGENT
            + tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in more.items())
        )
        self._secrets = secrets_of(key.reveal() if key else None, more)
        self._heads: dict[tuple[Header, ...], tuple[Header, ...]] = {}

    async def fetch(self, request: LLMRequest, model: str, due: float, deadline: float) -> LLMResponse:
        sent = self.send(request, model, due, deadline)
        try:
            return await sent.reply()
        except BaseException:
            sent.cancel()
            raise

    def send(self, request: LLMRequest, model: str, due: float, deadline: float) -> "HTTPSentRequest":
        """The first half of `fetch`."""
        outgoing = self._request(self.codec.encode(request, model, stream=False))
        stage = "first token" if due < deadline else "total"
        try:
            exchange = self._pool.send(
                outgoing, timeouts=WHOLE, max_bytes=self.reply_bytes, until=min(due, deadline), trace=_network()
            )
        except TransportError as error:
            raise self._error_of(error, model, stage) from None
        return HTTPSentRequest(self, exchange, model, stage)

    def begin(self, request: LLMRequest, model: str, deadline: float, done: Callable[[], None]) -> "HTTPSentRequest":
        """`fetch` without a task: `done` is called once the reply is here or will not come."""
        sent = self.send(request, model, deadline, deadline)
        sent.listen(done)
        return sent

    async def open(self, request: LLMRequest, model: str, due: float, deadline: float) -> "HTTPReply":
        outgoing = self.codec.encode(request, model, stream=True)
        call = self._pool.request(self._request(outgoing), timeouts=self._streams, trace=_network())
        reply = HTTPReply(self, model, call.exchange, deadline)
        loop = asyncio.get_running_loop()
        timer = (
            loop.call_at(due, reply.expire, "first token" if due < deadline else "total") if due < deadline else None
        )
        try:
            response = await call.start()
            body = await response.read(MOST_OF_AN_ERROR) if response.status >= 400 else b""
            self._check_head(response.status, call.exchange.headers, body)
            await reply.begin(response)
        except TransportError as error:
            reply.close()
            raise reply.failure(error) from None
        except BaseException:
            reply.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return reply

    async def embed(self, request: EmbedRequest, model: str, deadline: float) -> Embedded:
        outgoing = embeddings.encode(self.codec.profile, request, model)
        body = await self._send(outgoing, deadline, model, "total")
        try:
            return embeddings.decode(self.codec.profile, model, body, len(request.inputs))
        except LLMError as error:
            raise self.cleaned(error) from None

    async def rerank(self, request: RerankRequest, model: str, deadline: float) -> Reranked:
        outgoing = reranking.encode(self.codec.profile, request, model)
        body = await self._send(outgoing, deadline, model, "total")
        try:
            return reranking.decode(self.codec.profile, request, model, body)
        except LLMError as error:
            raise self.cleaned(error) from None

    async def count(self, request: LLMRequest, model: str, deadline: float) -> int | None:
        """The tokens of a request, as the provider counts them; None where it has no endpoint for that."""
        outgoing = token_counts.encode(self.codec.profile, request, model)
        if outgoing is None:
            return None
        return token_counts.decode(self.codec.profile, await self._send(outgoing, deadline, model, "total"))

    async def models(self, deadline: float) -> tuple[str, ...]:
        body = await self._send(self.codec.encode_models(), deadline, "", "total")
        try:
            return self.codec.decode_models(body)
        except LLMError as error:
            raise self.cleaned(error) from None

    async def warm(self, within: float) -> None:
        """Opens a connection, which also tells whether the provider can be reached at all."""
        try:
            await self._pool.warm(self.base_url, within=within)
        except TransportError as error:
            raise error_of(error, self.name, None) from None

    def too_late(self, model: str, stage: str) -> DeadlineExceeded:
        what = "no content came" if stage == "first token" else "the reply was not complete"
        return DeadlineExceeded(
            f"{self.name}: {what} in the time allowed", stage=stage, provider=self.name, model=model or None
        )

    async def _send(self, outgoing: Outgoing, until: float, model: str, stage: str) -> bytes:
        try:
            return await self.exchange(outgoing, until)
        except TransportError as error:
            raise self._error_of(error, model, stage) from None

    async def exchange(self, outgoing: Outgoing, until: float) -> bytes:
        """The body of the answer to a request that is no call to a model. A refusal is its error; that of the transport
        is raised as it is, since it says whether the request may have been done."""
        reply = await self._pool.fetch(self._request(outgoing), timeouts=WHOLE, until=until)
        self._check_head(reply.status, reply.headers, reply.content)
        return reply.content

    async def download(self, outgoing: Outgoing) -> AsyncGenerator[bytes, None]:
        """The body of the answer, as it comes; errors as those of `exchange`. Its reader has the deadline."""
        async with self._pool.request(self._request(outgoing), timeouts=self._streams) as response:
            body = await response.read(MOST_OF_AN_ERROR) if response.status >= 400 else b""
            self._check_head(response.status, response.headers, body)
            async for data in response.body:
                yield data

    def cleaned(self, error: LLMError) -> LLMError:
        """The error of a codec, without the key that the provider may have echoed in any field."""
        return cleaned(error, self._secrets)

    def _error_of(self, error: TransportError, model: str, stage: str) -> Exception:
        if isinstance(error, TimedOut) and error.phase == "total":
            return self.too_late(model, stage)
        return self.failure(error, model)

    def failure(self, error: TransportError, model: str) -> ThreeModeError:
        """The error of the transport as ours."""
        return cleaned(error_of(error, self.name, model or None), self._secrets)

    def _check_head(self, status: int, headers: Headers, body: bytes) -> None:
        """Read limits from the head of a reply, and raise its failure. The transport gives equal heads as one object,
        which is read once."""
        if self._learn is not None and headers is not self._silent:
            reading = self.codec.limits(headers)
            if reading is not None:
                self._learn(reading)
            else:
                self._silent = headers
        if status >= 400:
            error = self.codec.error(status, headers, body)
            if isinstance(error, NotFound):
                error.hint = f"{error.hint}; it was asked at {self.base_url}" if error.hint else self.base_url
            raise self.cleaned(error)

    def _request(self, outgoing: Outgoing) -> Request:
        """Headers of one shape are one object: the transport keeps their encoded form."""
        heads = self._heads.get(outgoing.headers)
        if heads is None:
            if len(self._heads) > 64:
                self._heads.clear()
            heads = self._heads[outgoing.headers] = self._always + outgoing.headers
        return Request(
            method=outgoing.method.encode(),
            origin=self._origin,
            target=self._prefix + outgoing.path.encode(),
            headers=heads,
            body=outgoing.body,
        )


class HTTPSentRequest:
    """A request that is out."""

    __slots__ = ("_endpoint", "_exchange", "_model", "_stage", "written")

    def __init__(self, endpoint: HTTPEndpoint, exchange: Exchange, model: str, stage: str) -> None:
        self._endpoint, self._exchange, self._model, self._stage = endpoint, exchange, model, stage
        self.written = b""

    async def reply(self) -> LLMResponse:
        try:
            body = await self._exchange.whole()
        except TransportError as error:
            raise self._failure(error) from None
        return self._read(body)

    def listen(self, done: Callable[[], None]) -> None:
        """Call `done` once the reply is here or will not come, in the place of a task that awaits it."""
        self._exchange.listener = done
        if self._exchange.done:
            self._exchange.loop.call_soon(self._heard)  # not before its caller has this request

    def _heard(self) -> None:
        if self._exchange.listener is not None:
            self._exchange.listener()

    def result(self) -> LLMResponse:
        """The reply, which is here, or the error in its place."""
        try:
            body = self._exchange.take()
        except TransportError as error:
            raise self._failure(error) from None
        return self._read(body)

    def _read(self, body: bytes) -> LLMResponse:
        endpoint, exchange = self._endpoint, self._exchange
        self.written = body
        endpoint._check_head(exchange.status, exchange.headers, body)
        try:
            return endpoint.codec.decode(body)
        except LLMError as error:
            raise endpoint.cleaned(error) from None

    def _failure(self, error: TransportError) -> Exception:
        endpoint = self._endpoint
        if isinstance(error, LimitExceeded) and self._exchange.received > endpoint.reply_bytes:
            return too_large(endpoint.name, self._model, endpoint.reply_bytes)
        return endpoint._error_of(error, self._model, self._stage)

    @property
    def read(self) -> Callable[[bytes], LLMResponse]:
        return self._endpoint.codec.decode

    def cancel(self) -> None:
        self._exchange.cancel()


class HTTPReply(DecodedReply):
    """A reply that streams. Its total deadline is one timer; the transport watches the rest."""

    def __init__(self, endpoint: HTTPEndpoint, model: str, exchange: Exchange, deadline: float) -> None:
        super().__init__(endpoint.codec.decoder())
        self._endpoint = endpoint
        self._model = model
        self._exchange = exchange
        self._response: Response | None = None
        self._expired: str | None = None
        self._timer = asyncio.get_running_loop().call_at(deadline, self.expire, "total")

    async def begin(self, response: Response) -> None:
        """Reads up to the first content."""
        self._response = response  # dropping it would cancel the call
        kind = response.header(b"content-type") or b""
        if (
            kind.startswith(b"application/json")
            and b"ndjson" not in kind
            and self._endpoint.codec.profile.wire != "ollama"
        ):
            # It was asked for a stream and gave a document: an error, or a host that does not stream.
            try:
                document = await response.read(self._endpoint.reply_bytes)
            except LimitExceeded:
                raise self._too_large() from None
            try:
                self._first = list(chunks_of(self._endpoint.codec.decode(document)))
            except LLMError as error:
                raise self._endpoint.cleaned(error) from None
            self._end_stream()
            return
        await self._until_content()

    async def _read(self) -> list[Chunk]:
        if self._decoder.done:
            await self._read_to_end()
            return []
        try:
            data = await self._exchange.chunk()
        except TransportError as error:
            raise self.failure(error) from None
        if data:
            if self._exchange.received > self._endpoint.reply_bytes:
                raise self._too_large()
            chunks = self._decoder.feed(data)
        else:
            self._end_stream()
            chunks = self._decoder.finish()
        if self._decoder.error is not None:
            self._endpoint.cleaned(self._decoder.error)
        return chunks

    async def _read_to_end(self) -> None:
        """The reply is whole. Its last frame is about to come, and a stream that ended needs no reset."""
        self._end_stream()
        if not self._exchange.ended:
            try:
                async with asyncio.timeout(WAIT_FOR_END):
                    while await self._exchange.chunk():
                        pass
            except (TimeoutError, TransportError):
                pass

    def _too_large(self) -> ReplyTooLarge:
        return too_large(self._endpoint.name, self._model, self._endpoint.reply_bytes)

    def _end_stream(self) -> None:
        self._ended = True
        self._timer.cancel()

    def expire(self, stage: str) -> None:
        self._expired = stage
        self._exchange.give_up(TimedOut(f"the {stage} deadline has passed", phase="idle"))

    def failure(self, error: TransportError) -> Exception:
        if self._expired is not None:
            return self._endpoint.too_late(self._model, self._expired)
        return self._endpoint.failure(error, self._model)

    def close(self) -> None:
        self._end_stream()
        self._exchange.cancel()


_STAGES = {
    "connect": "connect",
    "pool": "pool",
    "write": "write",
    "first_byte": "first token",
    "idle": "idle",
    "total": "total",
}


def error_of(error: TransportError, provider: str, model: str | None) -> ThreeModeError:
    said = f"{provider}: {error}"
    if isinstance(error, TimedOut):
        return DeadlineExceeded(said, stage=_STAGES[error.phase], provider=provider, model=model)
    if isinstance(error, TLSFailed):
        return ConnectionFailed(
            said,
            provider=provider,
            model=model,
            retryable=False,
            hint="is base_url= right, and its certificate known here?",
        )
    if isinstance(error, ProxyFailed):
        return ConnectionFailed(said, provider=provider, model=model, hint="check HTTPS_PROXY and NO_PROXY")
    if isinstance(error, ConnectFailed):
        return ConnectionFailed(said, provider=provider, model=model, hint="is base_url= right, and the server up?")
    if isinstance(error, PoolClosed):
        return ConfigurationError(f"{provider}: this connection is closed", hint="make a new LLMConnection")
    if isinstance(error, PoolFull):
        return Overloaded(said)
    if isinstance(error, InvalidRequest):
        return ConfigurationError(said, hint="check base_url= and the headers that you added")
    if isinstance(error, PeerMisbehaved):
        return BadReply(said, provider=provider, model=model)
    return ConnectionFailed(said, provider=provider, model=model)


def _network() -> Trace | None:
    """What hears how long a request waits for its connection and for one round trip; None while nobody looks."""
    if not waits.listeners:
        return None
    began, context = time.perf_counter(), copy_context()

    def trace(name: str, info: Mapping[str, object]) -> None:
        if name == "request.sent":
            round_trip = info["round_trip"]
            sent = time.perf_counter() + (round_trip if isinstance(round_trip, float) else 0.0)
            context.run(waits.tell, "network", began, sent)

    return trace
