"""What a program may do to replies before its callers see them: `Observing(after=..., each=...)`."""

import inspect
from collections.abc import Awaitable, Callable

from three_mode.channels.channel import is_content
from three_mode.messages import Chunk, LLMResponse

Hook = Callable[[LLMResponse], LLMResponse | Awaitable[LLMResponse]]
EachHook = Callable[[Chunk], Chunk | None]


async def hooked(after: Hook | None, reply: LLMResponse) -> LLMResponse:
    if after is None:
        return reply
    changed = after(reply)
    return await changed if inspect.isawaitable(changed) else changed


def each_of(each: EachHook, batch: list[Chunk]) -> list[Chunk]:
    """The batch as the hook leaves it, which gets to see only what the model made."""
    changed = (each(chunk) if is_content(chunk) else chunk for chunk in batch)
    return [chunk for chunk in changed if chunk is not None]
