"""Codec of a provider's wire format. It is pure: it does no I/O and never waits.

    outgoing = codec.encode(request, model, stream=True)     request to send
    codec.decode(body)                                       a whole reply
    decoder = codec.decoder(); decoder.feed(data)            a streamed reply, in any split of its bytes
    codec.error(status, headers, body)                       a refusal, as an error
    codec.limits(headers)                                    rate limits

A new provider needs a profile, which is data. A new wire format needs a codec.
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
    """One HTTP request, without origin and key, which the connection adds."""

    method: str  #: HTTP method
    path: str  #: path behind the base URL
    body: bytes = b""  #: body
    headers: tuple[Header, ...] = ()  #: headers, without the key


class LimitReading(Struct, frozen=True):
    """Rate limits as headers report them; None where they do not."""

    requests_limit: int | None = None  #: most requests in the provider's window
    requests_remaining: int | None = None  #: requests left in it
    requests_reset: float | None = None  #: seconds until all requests are available again
    tokens_limit: int | None = None  #: most tokens in the provider's window
    tokens_remaining: int | None = None  #: tokens left in it
    tokens_reset: float | None = None  #: seconds until all tokens are available again


class ChunkDecoder(Protocol):
    """Decoder of one streamed reply. Chunks before an error are returned before `error` is set."""

    error: LLMError | None  #: error that ended the stream
    done: bool  #: whether the end marker came: bytes behind it are no part of the reply

    def feed(self, data: bytes) -> list[Chunk]:
        """Decodes the chunks that these bytes complete."""
        ...

    def finish(self) -> list[Chunk]:
        """Decodes the rest at the end of the bytes. Without an end marker, `error` says that the reply was cut."""
        ...


class Codec(Protocol):
    """Codec of one wire format, for one profile."""

    profile: Profile

    def encode(self, request: LLMRequest, model: str, *, stream: bool) -> Outgoing:
        """Encodes the HTTP request for a model."""
        ...

    def decode(self, body: bytes) -> LLMResponse:
        """Decodes a whole reply from its body."""
        ...

    def decoder(self) -> ChunkDecoder:
        """Makes a decoder for one streamed reply."""
        ...

    def error(self, status: int, headers: Headers, body: bytes) -> LLMError:
        """Decodes a refusal to an error."""
        ...

    def limits(self, headers: Headers) -> LimitReading | None:
        """Reads rate limits from the headers of a response; None where there are none."""
        ...

    def authorization(self, api_key: str | None) -> tuple[Header, ...]:
        """Makes the headers that carry the key."""
        ...

    def encode_models(self) -> Outgoing:
        """Encodes the HTTP request for the list of models."""
        ...

    def decode_models(self, body: bytes) -> tuple[str, ...]:
        """Decodes the names of models from the response."""
        ...
