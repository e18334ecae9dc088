"""OpenTelemetry's metrics of the gen_ai conventions: durations, the time to the first chunk, and tokens.

They are separate from `three_mode.observe.metrics`, which a connection always keeps.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from three_mode.errors import MissingExtra
from three_mode.messages import Usage
from three_mode.observe.invocations import AgentInvocation

# Bounds of the buckets, as the conventions name them.
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
INVOCATION_SECONDS = tuple(2**power / 10 for power in range(13))
CALLS = tuple(2**power for power in range(8))
TOKENS = tuple(4**power for power in range(14))

Attributes = Mapping[str, Any]


class Instruments:
    """Instruments of one meter. `meter` is an OpenTelemetry meter; without one, the global provider's."""

    def __init__(self, meter: Any = None) -> None:
        try:
            from opentelemetry import metrics
        except ImportError:
            raise MissingExtra.of("OpenTelemetry", "otel") from None
        self._meter = meter or metrics.get_meter("three_mode")
        self._inference = self._seconds("gen_ai.client.inference.duration", "Duration of a call to a model.")
        self._first = self._seconds(
            "gen_ai.client.inference.time_to_first_chunk", "Time to the first chunk of a stream."
        )
        self._chunks = self._seconds(
            "gen_ai.client.inference.time_per_output_chunk", "Time from one chunk of a stream to the next."
        )
        self._embeddings = self._seconds("gen_ai.client.embeddings.duration", "Duration of a call for vectors.")
        self._operation = self._seconds("gen_ai.client.operation.duration", "Duration of any other call.")
        self._agent = self._seconds(
            "gen_ai.invoke_agent.duration", "Duration of one invocation of an agent.", INVOCATION_SECONDS
        )
        self._models_called = self._calls("gen_ai.invoke_agent.inference_calls", "inference_call", "Calls to models")
        self._tools_called = self._calls("gen_ai.invoke_agent.tool_calls", "tool_call", "Calls to tools")
        self._tool = self._seconds("gen_ai.execute_tool.duration", "Duration of one execution of a tool.")
        self._input = self._tokens("gen_ai.client.inference.operation.input_tokens", "Input tokens of a call.")
        self._output = self._tokens("gen_ai.client.inference.operation.output_tokens", "Output tokens of a call.")
        self._embedded = self._tokens("gen_ai.client.embeddings.operation.input_tokens", "Input tokens of a call.")
        self._sums = [
            (self._sum(f"gen_ai.client.inference.usage.{name}", words), field)
            for name, words, field in (
                ("input_tokens", "Input tokens used, cached ones included.", "input_tokens"),
                ("output_tokens", "Output tokens used, thinking included.", "output_tokens"),
                ("cache_read.input_tokens", "Input tokens read from a provider's cache.", "cache_read_tokens"),
                ("cache_write.input_tokens", "Input tokens written to a provider's cache.", "cache_write_tokens"),
                ("reasoning.output_tokens", "Output tokens of thinking.", "reasoning_tokens"),
            )
        ]

    def inference(
        self, attributes: Attributes, seconds: float, usage: Usage | None, error: str | None, modality: str
    ) -> None:
        """Record a call to a model. `modality` of the tokens: "text", or "unknown" where there is more than text."""
        ended = _ended(attributes, error)
        self._inference.record(seconds, ended)
        self._input.record(usage.input_tokens if usage is not None else 0, ended)
        self._output.record(usage.output_tokens if usage is not None else 0, ended)
        used = {**attributes, "gen_ai.token.modality": modality if usage is not None else "unknown"}
        for counter, field in self._sums:
            counter.add(getattr(usage, field) if usage is not None else 0, used)

    def first_chunk(self, attributes: Attributes, seconds: float) -> None:
        """Record the time to the first chunk of a stream."""
        self._first.record(seconds, attributes)

    def output_chunks(self, attributes: Attributes, gaps: Iterable[float]) -> None:
        """Record the times from each chunk of a stream to the next."""
        for seconds in gaps:
            self._chunks.record(seconds, attributes)

    def embeddings(self, attributes: Attributes, seconds: float, usage: Usage | None, error: str | None) -> None:
        """Record a call for vectors."""
        ended = _ended(attributes, error)
        self._embeddings.record(seconds, ended)
        if usage is not None:
            self._embedded.record(usage.input_tokens, ended)

    def operation(self, attributes: Attributes, seconds: float, error: str | None) -> None:
        """Record a call that has no metric of its own."""
        self._operation.record(seconds, _ended(attributes, error))

    def agent(self, attributes: Attributes, seconds: float, error: str | None, called: AgentInvocation) -> None:
        """Record an invocation of an agent, and what it called."""
        self._agent.record(seconds, _ended(attributes, error))
        self._models_called.record(called.models, attributes)
        self._tools_called.record(called.tools, attributes)

    def tool(self, attributes: Attributes, seconds: float, error: str | None) -> None:
        """Record an execution of a tool."""
        self._tool.record(seconds, _ended(attributes, error))

    def _seconds(self, name: str, words: str, bounds: Sequence[float] = SECONDS) -> Any:
        return self._meter.create_histogram(name, "s", words, explicit_bucket_boundaries_advisory=bounds)

    def _calls(self, name: str, unit: str, what: str) -> Any:
        words = f"{what} of one invocation of an agent, failed ones included."
        return self._meter.create_histogram(name, f"{{{unit}}}", words, explicit_bucket_boundaries_advisory=CALLS)

    def _tokens(self, name: str, words: str) -> Any:
        return self._meter.create_histogram(name, "{token}", words, explicit_bucket_boundaries_advisory=TOKENS)

    def _sum(self, name: str, words: str) -> Any:
        return self._meter.create_counter(name, "{token}", words)


def _ended(attributes: Attributes, error: str | None) -> Attributes:
    return attributes if error is None else {**attributes, "error.type": error}
