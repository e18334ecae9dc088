"""Metrics of one `LLM`: cost, tokens, latency, retries and failures. A connection tells them by its hooks."""

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from three_mode.messages import LLMResponse

KEPT = 2048  # newest calls that are kept one by one; the sums are of all


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one call, or of all."""

    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    response_id: str = ""

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            self.model or other.model,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True)
class ResponseLatency:
    """Seconds of one call."""

    model: str
    latency: float
    response_id: str


class Metrics:
    """Metrics of one `LLM`, or of several that share it. Threads may share one."""

    def __init__(self, model_name: str = "default") -> None:
        self.model_name = model_name
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets all."""
        with self._lock:
            #: US dollars of all calls whose price is known
            self.accumulated_cost = 0.0
            self.unpriced = 0  #: calls whose price nobody knows
            self.accumulated_token_usage = TokenUsage(self.model_name)
            self.costs: deque[float] = deque(maxlen=KEPT)
            self.token_usages: deque[TokenUsage] = deque(maxlen=KEPT)
            self.response_latencies: deque[ResponseLatency] = deque(maxlen=KEPT)
            self.calls, self.retries, self.failures = 0, 0, 0

    @property
    def error_rate(self) -> float:
        """Failed calls as a share of all, from 0 to 1."""
        return self.failures / self.calls if self.calls else 0.0

    def add_reply(self, reply: LLMResponse) -> None:
        """Counts an answer."""
        used = reply.usage
        tokens = TokenUsage(
            reply.model,
            used.prompt_tokens,
            used.completion_tokens,
            used.cache_read_tokens,
            used.cache_write_tokens,
            reply.request_id,
        )
        with self._lock:
            self.calls += 1
            if used.cost is None:
                self.unpriced += 1
            else:
                self.accumulated_cost += float(used.cost)
                self.costs.append(float(used.cost))
            self.accumulated_token_usage += tokens
            self.token_usages.append(tokens)
            self.response_latencies.append(ResponseLatency(reply.model, reply.latency, reply.request_id))

    def add_retry(self) -> None:
        """Counts an attempt after the first one."""
        with self._lock:
            self.retries += 1

    def add_failure(self) -> None:
        """Counts a call that failed."""
        with self._lock:
            self.calls += 1
            self.failures += 1

    def get(self) -> dict[str, Any]:
        """All of it as plain data."""
        with self._lock:
            return {
                "accumulated_cost": self.accumulated_cost,
                "unpriced": self.unpriced,
                "accumulated_token_usage": asdict(self.accumulated_token_usage),
                "costs": list(self.costs),
                "token_usages": [asdict(each) for each in self.token_usages],
                "response_latencies": [asdict(each) for each in self.response_latencies],
                "calls": self.calls,
                "retries": self.retries,
                "failures": self.failures,
                "error_rate": self.error_rate,
            }
