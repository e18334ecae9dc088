"""What a call gives back: pieces while it runs, and the whole at its end."""

from typing import Any, Literal

import msgspec

Finish = Literal["stop", "length", "tool_calls"]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """The model asks for a tool. `arguments` is the JSON text as it was said; `parsed` is its value."""

    id: str
    name: str
    arguments: str
    parsed: dict[str, Any]


class TokenScore(msgspec.Struct, frozen=True, kw_only=True):
    """One token's natural-log probability under the model (before sampling changes it), and the likeliest others."""

    token: int
    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a call took. `reused_tokens` of the prompt were in the KV cache already."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    queued_seconds: float = 0.0
    first_token_seconds: float = 0.0
    total_seconds: float = 0.0
    preemptions: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A part of a stream. The last one has `finish` and `usage`, and the tool calls if there are any."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    scores: tuple[TokenScore, ...] = ()
    finish: Finish | None = None
    usage: Usage | None = None
    tool_calls: tuple[ToolCall, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    text: str
    finish: Finish
    usage: Usage
    tokens: tuple[int, ...] = ()
    scores: tuple[TokenScore, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine is and did; everything that was dropped, evicted or refused is counted."""

    path: str
    architecture: str
    device: str
    layout: str
    width: int  # sequences decoded in one step
    width_chosen: str  # how it was chosen: "configured", or the measurement in words
    context: int
    pool: int
    threads: int
    gpu_layers: int
    memory_bytes: int  # weights and KV cache
    running: int
    waiting: int
    finished: int
    failed: int
    cancelled: int
    expired: int
    refused: int
    preempted: int
    prompt_tokens: int
    reused_tokens: int
    completion_tokens: int
    resident_prefix_tokens: int
    evicted_prefix_tokens: int
    steps: int
    decode_seconds: float
    engine_seconds: float  # the engine's own time: all of the steps but llama.cpp's decode
    restarts: int = 0
