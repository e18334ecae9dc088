"""A response as OpenAI's body. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from three_mode.errors import ThreeModeError
from three_mode.messages import LLMResponse, Usage
from three_mode.serve import faults
from three_mode.serve.ignored import ignored
from three_mode.serve.surfaces.openai_responses.items import output_items
from three_mode.serve.surfaces.openai_responses.reading import ResponseQuestion
from three_mode.serve.wire_out import logprobs

_DEFAULTS: dict[str, Any] = {
    "background": False,
    "completed_at": None,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": (),
    "top_p": None,
    "truncation": "disabled",
    "usage": None,
    "user": None,
}
# Why an answer is not whole. Whatever is not here is a plain end.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class KnownResponse(Struct, frozen=True):
    """A response from the time that its request is read."""

    id: str
    created: int
    asked: ResponseQuestion
    kept: bool  # in the endpoint's store, once it is whole


def begun(known: KnownResponse) -> dict[str, Any]:
    """The body before there is an answer."""
    return _body(known, "in_progress", known.asked.request.model or "", ())


def failed(known: KnownResponse, error: ThreeModeError, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The body of an answer that broke off."""
    said = faults.told(error)
    body = _body(known, "failed", known.asked.request.model or "", output)
    return body | {"error": {"code": said["code"], "message": said["message"]}}


def whole(known: KnownResponse, reply: LLMResponse) -> dict[str, Any]:
    """The body of an answer that did not stream."""
    scores = logprobs(reply.extra) if reply.extra else None
    listed = scores["content"] if isinstance(scores, dict) else ()
    return ended(known, reply, output_items(known.id, reply.parts, known.asked.seal, listed))


def ended(known: KnownResponse, reply: LLMResponse, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The body of an answer that has ended, however it did."""
    status = status_of(reply)
    if status != "completed" and output:
        output = [*output[:-1], output[-1] | {"status": "incomplete"}]
    body = _body(known, status, reply.model or known.asked.request.model or "", output)
    if status == "incomplete":
        body["incomplete_details"] = {"reason": _INCOMPLETE[reply.finish_reason]}
    body["usage"] = used(reply.usage)
    body["completed_at"] = int(reply.created_at.timestamp())
    body["three_mode"] = {
        "provider": reply.provider,
        "mode": reply.mode,
        "latency": reply.latency,
        "cost": reply.usage.cost,
        "steps": reply.steps,
        "ignored": ignored(known.asked.sent, reply.mode, reply.provider),
    }
    return body


def status_of(reply: LLMResponse) -> str:
    """How the answer ended, in OpenAI's word."""
    if reply.finish_reason == "cancelled":
        return "cancelled"
    return "incomplete" if reply.finish_reason in _INCOMPLETE else "completed"


def used(usage: Usage) -> dict[str, Any]:
    """Tokens of an answer."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _body(known: KnownResponse, status: str, model: str, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": known.id,
        "object": "response",
        "created_at": known.created,
        "status": status,
        "model": model,
        "output": output,
        "store": known.kept,
        **_DEFAULTS,
        **known.asked.echo,
    }
