"""What every mode's channel can do. The policies around a call know no more of it than this."""

from typing import Protocol

from three_mode.messages import (
    Chunk,
    Embedded,
    EmbedRequest,
    LLMRequest,
    LLMResponse,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
)
from three_mode.policies import Target


class OpenReply(Protocol):
    """A streamed reply whose first content is here. Whoever gets one closes it."""

    async def more(self) -> list[Chunk]:
        """The next chunks, as many as have come; [] at the end. An error is raised after the chunks before it."""
        ...

    def close(self) -> None:
        """Ends it at the far side, at once, if it has not ended. Never waits."""
        ...


class Channel(Protocol):
    """`due` is when the first content must be there, `deadline` when all of it; both in the loop's time."""

    async def fetch(
        self, target: Target, request: LLMRequest, due: float, deadline: float
    ) -> LLMResponse: ...
    async def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> OpenReply: ...
    async def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Embedded: ...


def is_content(chunk: Chunk) -> bool:
    """Whether a chunk is something that the model made: a start, a count or a keep-alive is not."""
    kind = type(chunk)
    return kind is TextDelta or kind is ThinkingDelta or kind is ToolDelta
