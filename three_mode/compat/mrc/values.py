"""Reply and usage as MRC's document has them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from three_mode import messages


@dataclass
class UsageInfo:
    """Tokens of a call. The costs are in US dollars; None where nobody knows the price."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated_cost: float | None = None

    @classmethod
    def of(cls, usage: messages.Usage) -> "UsageInfo":
        """The usage of a reply of `three_mode`."""
        cost = None if usage.cost is None else float(usage.cost)
        return cls(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, cost)

    def to_dict(self) -> dict[str, int]:
        """The tokens, for logs."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }


@dataclass
class LLMResponse:
    """A whole answer."""

    content: str
    model: str
    provider: str
    usage: UsageInfo
    response_time: float
    request_id: str
    created_at: datetime = field(default_factory=partial(datetime.now, UTC))

    @classmethod
    def of(cls, reply: messages.LLMResponse) -> "LLMResponse":
        """A reply of `three_mode`."""
        return cls(
            content=reply.content,
            model=reply.model,
            provider=reply.provider,
            usage=UsageInfo.of(reply.usage),
            response_time=reply.latency,
            request_id=reply.request_id,
            created_at=reply.created_at,
        )

    def to_legacy_format(self) -> dict[str, Any]:
        """The answer as a dict, as `SimpleLLMService` gave it before."""
        return {
            "content": self.content,
            "model": self.model,
            "usage": vars(self.usage),
            "response_time": self.response_time,
        }
