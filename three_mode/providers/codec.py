"""What a provider's wire format is to the rest of the runtime: a pure codec. It never opens anything and never waits.

    outgoing = codec.encode(request, model, stream=True)     what to send
    codec.decode(body)                                       a whole reply
    decoder = codec.decoder(); decoder.feed(data)            a streamed one, in any split of its bytes
    codec.error(status, headers, body)                       a refusal, as one of our errors
    codec.limits(headers)                                    what the provider says of its rate limits

A new provider is a profile (data) where its wire format is known already, and a file with these verbs where it is not.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from three_mode.errors import LLMError
from three_mode.messages import Chunk, LLMRequest, LLMResponse
from three_mode.providers.profile import Profile

Header = tuple[bytes, bytes]
Headers = Sequence[Header]  #: Headers as names and values, in bytes.


class Outgoing(Struct, frozen=True):
    """One HTTP request, without what the connection knows: the origin and the key. `path` follows the base URL."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[Header, ...] = ()


class LimitReading(Struct, frozen=True):
    """What rate-limit headers said; None where they said nothing. Resets are in seconds from now."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: float | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: float | None = None


class ChunkDecoder(Protocol):
    """One streamed reply. Chunks before an error are given first; `error` is then what ended the stream."""

    error: LLMError | None
    done: bool  # the provider's own end marker came: nothing that follows is part of the reply

    def feed(self, data: bytes) -> list[Chunk]:
        """The chunks that these bytes complete."""
        ...

    def finish(self) -> list[Chunk]:
        """The bytes have ended. Without an end marker, `error` says that the reply was cut."""
        ...


class Codec(Protocol):
    """The verbs of one wire format, for one profile."""

    profile: Profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        """The HTTP request for a model."""
        ...

    def decode(self, body: bytes) -> LLMResponse:
        """A whole reply out of its body."""
        ...

    def decoder(self) -> ChunkDecoder:
        """A decoder for one streamed reply."""
        ...

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        """The error for a response that is a refusal."""
        ...

    def limits(self, headers: Headers) -> LimitReading | None:
        """What the headers of a response say of rate limits; None where they say nothing."""
        ...

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        """The headers that carry the key."""
        ...

    def encode_models(self) -> Outgoing:
        """The HTTP request for the list of models."""
        ...

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        """The names of models out of its response."""
        ...
