"""Codec of our own schema, `proto/three_mode/v1/llm.proto`: requests and answers as messages of gRPC. No I/O."""

import msgspec
from google.protobuf.message import DecodeError

from three_mode.errors import (
    BadReply,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidRequest,
    LLMError,
    RateLimit,
    ThreeModeError,
    UnsupportedParameter,
)
from three_mode.grpc_messages import convert, llm_pb2
from three_mode.grpc_messages.errors import read_error
from three_mode.messages import (
    CacheHints,
    Chunk,
    Embedded,
    EmbedRequest,
    Finish,
    LLMRequest,
    LLMResponse,
    Start,
    TextDelta,
    Usage,
    UsageUpdate,
)
from three_mode.providers.embeddings import no_tokens
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply
from transports.grpc import GrpcError

SERVICE = "/three_mode.v1.LLMService/"
CHAT, STREAM, EMBED, MODELS = (SERVICE + name for name in ("ChatCompletion", "StreamingChat", "Embed", "ListModels"))

_UNREADABLE = (DecodeError, InvalidRequest, ValueError, TypeError, OverflowError)


class GRPCCodec:
    """Codec for one profile."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def encode(self, request: LLMRequest, model: str) -> bytes:
        """Encodes a request. What is said to this side alone stays here: its mode, metadata, cache of replies."""
        if request.prompt is not None:
            raise UnsupportedParameter(
                "a bare prompt does not go over gRPC",
                field="prompt",
                provider=self.profile.name,
                model=model,
                hint="ask with messages, or over HTTP",
            )
        if request.metadata or request.provider or request.mode or request.cache or request.within is not None:
            hints = request.cache
            cache = CacheHints(key=hints.key) if hints is not None and hints.key else None
            request = msgspec.structs.replace(
                request, metadata={}, provider=None, mode=None, cache=cache, within=None, model=model
            )
        message = convert.write_request(request)
        message.model = model
        return message.SerializeToString()

    def decode(self, body: bytes) -> LLMResponse:
        """Decodes a whole answer."""
        try:
            return convert.read_response(llm_pb2.ChatResponse.FromString(body))
        except _UNREADABLE as error:
            raise self._unreadable(error) from None

    def decoder(self) -> "GRPCChunks":
        """Makes a decoder for one streamed answer."""
        return GRPCChunks(self.profile)

    def encode_embedding(self, request: EmbedRequest, model: str) -> bytes:
        """Encodes a request for vectors."""
        if request.tokens:
            raise no_tokens(self.profile, model)
        request = msgspec.structs.replace(request, model=model, within=None)
        return convert.write_embed_request(request).SerializeToString()

    def decode_embedding(self, body: bytes, texts: int) -> Embedded:
        """Decodes the vectors of so many texts."""
        try:
            embedded = convert.read_embedded(llm_pb2.EmbedResponse.FromString(body))
        except _UNREADABLE as error:
            raise self._unreadable(error) from None
        if len(embedded.vectors) != texts:
            raise bad_reply(self.profile, f"{len(embedded.vectors)} vectors came for {texts} texts")
        return embedded

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        """Decodes the names of models."""
        try:
            return tuple(model.id for model in llm_pb2.ListModelsResponse.FromString(body).models)
        except _UNREADABLE as error:
            raise self._unreadable(error) from None

    def error(self, said: GrpcError, model: str | None) -> ThreeModeError:
        """The error that a server sent: the same as there, if it is one of three-mode, else by its code."""
        error = read_error(said.status, said.message, said.details)
        if isinstance(error, LLMError | DeadlineExceeded):
            error.provider, error.model = self.profile.name, model
        if isinstance(error, RateLimit) and error.status is None:
            error.status = 429  # which the limiter of the provider listens to
        return error

    def _unreadable(self, error: Exception) -> BadReply:
        return bad_reply(self.profile, f"what came cannot be read ({type(error).__name__}: {error})"[:300])


class GRPCChunks:
    """Decoder of one streamed answer. Servers of the older schema send pieces of text alone: their start and end are
    made here."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.error: LLMError | None = None
        self.done = False
        self._started = False
        self._tokens = 0

    def feed(self, data: bytes) -> list[Chunk]:
        """Decodes the chunk of one message."""
        out: list[Chunk] = []
        self.take((data,), out)
        return out

    def take(self, messages: "list[bytes] | tuple[bytes, ...]", out: list[Chunk]) -> None:
        """Appends the chunks of messages to `out`."""
        read, parse = convert.read_chunk, llm_pb2.ChatChunk.FromString
        for data in messages:
            try:
                message = parse(data)
                chunk = read(message)
            except _UNREADABLE as error:
                self.error = bad_reply(
                    self.profile, f"what came cannot be read ({type(error).__name__}: {error}): {data[:80]!r}"[:300]
                )
                return
            if not self._started:
                self._started = True
                if type(chunk) is not Start:
                    out.append(Start(model=message.model))
            if type(chunk) is TextDelta:
                if message.tokens_used:
                    self._tokens = message.tokens_used
                if not chunk.text:
                    continue
            elif type(chunk) is Finish:
                self.done = True
            out.append(chunk)

    def finish(self) -> list[Chunk]:
        """The chunks that the end brings, where the server did not send them."""
        if self.done or self.error is not None:
            return []
        self.done = True
        if not self._started:
            self.error = ConnectionFailed(
                f"{self.profile.name}: the stream ended before it began", provider=self.profile.name
            )
            return []
        usage: list[Chunk] = [UsageUpdate(Usage(output_tokens=self._tokens))] if self._tokens else []
        return [*usage, Finish()]
