"""Events of one call, made out of its request and its reply. Whoever uses this asks `hub.wanted` before."""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import FUNCTION_CALLS, RESPONSE_CHUNK, RESPONSE_COMPLETE, RESPONSE_START
from three_mode.events.values import (
    AskedAs,
    CallVerb,
    FunctionCalls,
    ResponseChunk,
    ResponseComplete,
    ResponseStart,
)
from three_mode.handling import current
from three_mode.messages import Chunk, LLMResponse, TextDelta, ThinkingDelta, Usage
from three_mode.messages.usage import NOTHING

#: How the client of an endpoint knows the calls that are made in this context.
ASKED_AS: ContextVar[AskedAs | None] = ContextVar("three_mode_asked_as", default=None)
Whose = dict[str, Any]  # the fields that all events of one call share


def whose(request_id: str | None, label: str | None = None, conversation: str | None = None) -> Whose:
    """The fields that the events of one call share."""
    agent = current.get().agent or None
    return {
        "request_id": request_id,
        "label": label,
        "conversation": conversation,
        "agent": agent,
        "asked_as": ASKED_AS.get(),
    }


def tell_start(hub: ConnectionHub, who: Whose, model: str, provider: str, call: CallVerb) -> None:
    """A call begins."""
    if RESPONSE_START in hub.wanted:
        hub.publish(ResponseStart(time=time.time(), **who, model=model, provider=provider, call=call))


def tell_chunks(hub: ConnectionHub, who: Callable[[], Whose], batch: Iterable[Chunk]) -> None:
    """Pieces of a streamed reply have come."""
    if RESPONSE_CHUNK not in hub.wanted:
        return
    shared: Whose | None = None
    for chunk in batch:
        text = chunk.text if type(chunk) is TextDelta else ""
        thinking = chunk.thinking if type(chunk) is ThinkingDelta else ""
        if text or thinking:
            shared = shared or who()
            hub.publish(ResponseChunk(time=time.time(), **shared, text=text, thinking=thinking))


def tell_reply(hub: ConnectionHub, who: Whose, reply: LLMResponse, reused: Any = None) -> None:
    """A call has its reply."""
    if FUNCTION_CALLS in hub.wanted and reply.tool_calls:
        hub.publish(FunctionCalls(time=time.time(), **who, calls=reply.tool_calls))
    if RESPONSE_COMPLETE in hub.wanted:
        hub.publish(
            ResponseComplete(
                time=time.time(),
                **who,
                model=reply.model,
                provider=reply.provider,
                latency=reply.latency,
                usage=reply.usage,
                finish_reason=reply.finish_reason,
                content=reply.content,
                reused=reused,
            )
        )


def tell_end(
    hub: ConnectionHub,
    who: Whose,
    *,
    model: str,
    provider: str,
    latency: float,
    usage: Usage = NOTHING,
    error: BaseException | None = None,
    content: str = "",
) -> None:
    """A call is over: it failed, or it was one for vectors."""
    if RESPONSE_COMPLETE in hub.wanted:
        hub.publish(
            ResponseComplete(
                time=time.time(),
                **who,
                model=model,
                provider=provider,
                latency=latency,
                usage=usage,
                content=content,
                error=None if error is None else name_of(error),
            )
        )


def name_of(error: BaseException) -> str:
    """The class of an error. Its text may quote a provider, and stays in the log."""
    return "Cancelled" if isinstance(error, asyncio.CancelledError | GeneratorExit) else type(error).__name__
