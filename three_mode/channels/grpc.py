"""One provider over gRPC: the codec of our schema and a key, on a channel of its own; and errors of it as ours."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from three_mode.channels.channel import REPLY_BYTES, too_large
from three_mode.channels.grpc_options import GRPCOptions
from three_mode.channels.http import CONNECT, WRITE, error_of
from three_mode.channels.replies import DecodedReply
from three_mode.config.secret import Secret
from three_mode.errors import ConfigurationError, DeadlineExceeded, LLMError, ThreeModeError
from three_mode.messages import Chunk, Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.policies.absences import NO_GRPC
from three_mode.providers.grpc import CHAT, EMBED, MODELS, STREAM, GRPCChunks, GRPCCodec
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import cleaned, secrets_of
from three_mode.providers.reranking import unranked
from transports.grpc import ChannelOptions, GrpcChannel, GrpcError, GrpcStream, NotGrpc, SentCall
from transports.http2 import (
    ConnectFailed,
    ConnectionLost,
    InvalidRequest,
    LimitExceeded,
    PeerMisbehaved,
    PoolOptions,
    TimedOut,
    Timeouts,
    TransportError,
)

Failure = TransportError | GrpcError


class GRPCEndpoint:
    """`fetch` for a whole reply, `open` for one that streams."""

    def __init__(
        self,
        profile: Profile,
        address: str,
        key: Secret | None,
        headers: Mapping[str, str],
        pool: PoolOptions,
        options: GRPCOptions,
        reply_bytes: int = REPLY_BYTES,
    ) -> None:
        self.codec = GRPCCodec(profile)
        self.name = profile.name
        self.base_url = address
        self.reply_bytes = reply_bytes
        metadata = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        if key is not None:
            metadata.append((b"authorization", b"Bearer " + key.reveal().encode("latin-1")))
        self._secrets = secrets_of(key.reveal() if key else None, headers)
        self._spoken = False  # whether the server has ever answered in gRPC
        try:
            self._channel = GrpcChannel(
                address,
                ChannelOptions(
                    pool=replace(pool, ping_every=options.keepalive),
                    metadata=tuple(metadata),
                    insecure=options.insecure,
                    compress=options.compress,
                    most_bytes=reply_bytes,
                    timeouts=Timeouts(connect=CONNECT, pool=None, write=WRITE, first_byte=None, idle=None),
                ),
            )
        except InvalidRequest as error:
            raise ConfigurationError(
                f"{self.name}: {error}", hint="ConnectionOptions(grpc=GRPCOptions(insecure=True)) allows it"
            ) from None

    async def fetch(self, request: LLMRequest, model: str, due: float, deadline: float) -> LLMResponse:
        sent = self.send(request, model, due, deadline)
        try:
            return await sent.reply()
        except BaseException:
            sent.cancel()
            raise

    def send(self, request: LLMRequest, model: str, due: float, deadline: float) -> "GRPCSentRequest":
        """The first half of `fetch`."""
        stage = "first token" if due < deadline else "total"
        message = self.codec.encode(request, model)
        try:
            call = self._channel.send(CHAT, message, until=min(due, deadline))
        except TransportError as error:
            raise self.failure(error, model, stage, spoke=False) from None
        return GRPCSentRequest(self, call, model, stage)

    async def open(self, request: LLMRequest, model: str, due: float, deadline: float) -> "GRPCReply":
        call = self._channel.stream(STREAM, self.codec.encode(request, model), until=deadline)
        reply = GRPCReply(self, model, call)
        timer = asyncio.get_running_loop().call_at(due, reply.expire) if due < deadline else None
        try:
            await reply.begin()
        except BaseException:
            reply.close()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return reply

    async def embed(self, request: EmbedRequest, model: str, deadline: float) -> Embedded:
        message = self.codec.encode_embedding(request, model)
        body = await self._ask(EMBED, message, deadline, model)
        return self.codec.decode_embedding(body, len(request.inputs))

    async def rerank(self, request: RerankRequest, model: str, deadline: float) -> Reranked:
        raise unranked(self.codec.profile, model)

    async def models(self, deadline: float) -> tuple[str, ...]:
        return self.codec.decode_models(await self._ask(MODELS, b"", deadline, ""))

    async def warm(self, within: float) -> None:
        """Opens a connection, which also tells whether the server can be reached at all."""
        try:
            await self._channel.warm(within)
        except TransportError as error:
            raise self.failure(error, "", "connect", spoke=False) from None

    async def close(self) -> None:
        """Closes the connections to the server."""
        await self._channel.close()

    async def _ask(self, method: str, message: bytes, until: float, model: str) -> bytes:
        call = self._channel.send(method, message, until=until)
        try:
            body = await call.reply()
        except (TransportError, GrpcError) as error:
            raise self.failure(error, model, "total", spoke=call.spoke) from None
        except BaseException:
            call.cancel()
            raise
        self._spoken = True
        return body

    def failure(self, error: Failure, model: str, stage: str, *, spoke: bool) -> ThreeModeError:
        """An error below as ours. `spoke`: the server had answered this call."""
        if isinstance(error, GrpcError):
            self._spoken = True
            return cleaned(self.codec.error(error, model or None), self._secrets)
        if isinstance(error, TimedOut) and error.phase == "total":
            return self.too_late(model, stage)
        if isinstance(error, LimitExceeded) and spoke:
            return too_large(self.name, model or None, self.reply_bytes)
        found = error_of(error, self.name, model or None)
        if self._is_absent(error) and isinstance(found, LLMError | DeadlineExceeded):
            found = _absent(found)
        return cleaned(found, self._secrets)

    def _is_absent(self, error: TransportError) -> bool:
        """Whether there is no gRPC at this address: nobody listens, or what listens speaks something else."""
        if isinstance(error, ConnectFailed | NotGrpc) or (isinstance(error, TimedOut) and error.phase == "connect"):
            return True
        return not self._spoken and isinstance(error, PeerMisbehaved | ConnectionLost)

    def too_late(self, model: str, stage: str) -> DeadlineExceeded:
        """Error for a reply that did not come in time."""
        what = "no content came" if stage == "first token" else "the reply was not complete"
        return DeadlineExceeded(
            f"{self.name}: {what} in the time allowed", stage=stage, provider=self.name, model=model or None
        )

    def spoken(self) -> None:
        """Takes note that the server speaks gRPC."""
        self._spoken = True


class GRPCSentRequest:
    """A request that is out."""

    __slots__ = ("_call", "_endpoint", "_model", "_stage", "written")

    def __init__(self, endpoint: GRPCEndpoint, call: SentCall, model: str, stage: str) -> None:
        self._endpoint, self._call, self._model, self._stage = endpoint, call, model, stage
        self.written = b""

    async def reply(self) -> LLMResponse:
        endpoint, call = self._endpoint, self._call
        try:
            body = self.written = await call.reply()
        except (TransportError, GrpcError) as error:
            raise endpoint.failure(error, self._model, self._stage, spoke=call.spoke) from None
        endpoint.spoken()
        return endpoint.codec.decode(body)

    @property
    def read(self) -> Callable[[bytes], LLMResponse]:
        return self._endpoint.codec.decode

    def cancel(self) -> None:
        self._call.cancel()


class GRPCReply(DecodedReply):
    """A reply that streams. The transport watches its deadline."""

    def __init__(self, endpoint: GRPCEndpoint, model: str, call: GrpcStream) -> None:
        self._chunks: GRPCChunks = endpoint.codec.decoder()
        super().__init__(self._chunks)
        self._endpoint, self._model, self._call = endpoint, model, call
        self._expired = False

    async def begin(self) -> None:
        """Reads up to the first content."""
        try:
            await self._call.start()
        except (TransportError, GrpcError) as error:
            raise self._failure(error) from None
        self._endpoint.spoken()
        await self._until_content()

    async def _read(self) -> list[Chunk]:
        try:
            messages = await self._call.more()
        except (TransportError, GrpcError) as error:
            raise self._failure(error) from None
        if not messages:
            self._ended = True
            return self._chunks.finish()
        if self._call.exchange.received > self._endpoint.reply_bytes:
            raise too_large(self._endpoint.name, self._model, self._endpoint.reply_bytes)
        chunks: list[Chunk] = []
        self._chunks.take(messages, chunks)
        return chunks

    def _failure(self, error: Failure) -> ThreeModeError:
        self._ended = True
        if self._expired:
            return self._endpoint.too_late(self._model, "first token")
        return self._endpoint.failure(error, self._model, "total", spoke=self._call.spoke)

    def expire(self) -> None:
        """Ends the call: its first content is not there in time."""
        self._expired = True
        self._call.exchange.give_up(TimedOut("no content came in the time allowed", phase="idle"))

    def close(self) -> None:
        self._ended = True
        self._call.cancel()


def _absent(error: LLMError | DeadlineExceeded) -> LLMError:
    """The error with the code that says so; see policies/absences.py."""
    from three_mode.errors import ConnectionFailed

    if isinstance(error, DeadlineExceeded):
        return ConnectionFailed(error.message, provider=error.provider, model=error.model, code=NO_GRPC)
    error.code = NO_GRPC
    return error
