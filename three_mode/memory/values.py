"""Values of the memory: what is remembered, blocks, and options."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.frozen_options import FrozenOptions


class Recollection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One memory, and where it came from."""

    id: int  #: number in its file, which no other memory will have; `forget` takes it
    text: str  #: what is remembered
    namespace: str = ""  #: whose memory it is
    source: str = "program"  #: who said it: "user", "model", "program", or a word of your own
    reference: str = ""  #: where it was said: a conversation, a document
    created_at: datetime  #: when it was remembered, in UTC
    expires_at: datetime | None = None  #: when it is forgotten, in UTC; None: never
    #: nearness to the query it was found by; higher is nearer, and comparable within one `recall` only
    score: float = 0.0

    def entry(self) -> Mapping[str, object]:
        """The memory as a model reads it."""
        found: dict[str, object] = {"text": self.text, "from": self.source, "on": f"{self.created_at:%Y-%m-%d}"}
        if self.reference:
            found["in"] = self.reference
        return found


class MemoryBlock(Struct, frozen=True, kw_only=True):
    """A pinned text: it is told at every turn, without a search."""

    label: str  #: its name, such as "user"
    text: str  #: what it says
    updated_at: datetime  #: when it was last pinned, in UTC

    def entry(self) -> Mapping[str, object]:
        """The block as a model reads it."""
        return {"pinned": self.label, "text": self.text}


class MemoryOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of a memory."""

    #: model that embeds, for a search by meaning beside the one by words; it needs `llm`, and numpy (extra `local`)
    embedding_model: str | None = None
    embed_within: float = 10.0  #: seconds for each call that embeds
    keep_for: float | None = None  #: seconds until a memory is forgotten; None: never
    text_limit: int = 8000  #: most characters of a memory
    most_memories: int = 1_000_000  #: most memories of a namespace
    block_limit: int = 2000  #: most characters of a pinned block
    most_blocks: int = 16  #: most pinned blocks of a namespace
    recall_limit: int = 8  #: most memories that `recall` and `recalled` find
    recall_tokens: int = 1500  #: most tokens that `recalled` adds to a turn
    busy_within: float = 5.0  #: seconds to wait for another process that writes
    vector_cache: int = 256 * 1024 * 1024  #: most bytes of vectors that stay in this process

    def __post_init__(self) -> None:
        for field in ("embed_within", "keep_for", "busy_within"):
            value = getattr(self, field)
            if value is not None and not value > 0:
                raise InvalidRequest(f"{field} is a number of seconds above 0, not {value!r}", field=field)
        counts = ("text_limit", "most_memories", "block_limit", "most_blocks", "recall_limit", "recall_tokens")
        for field in (*counts, "vector_cache"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidRequest(f"{field} is a whole number of at least 0, not {value!r}", field=field)


class Embedder(Protocol):
    """What embeds texts: an `LLMConnection`."""

    async def embed(
        self, model: str | None, texts: str | Sequence[str], *, within: float | None = None
    ) -> Any:  # an `Embedded`, or any other sequence of vectors
        """A vector for each text."""


def utc(seconds: float) -> datetime:
    """The time in UTC of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)
