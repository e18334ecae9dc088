"""Results of calls: pieces of a stream, whole replies, and the statistics of an engine."""

from typing import Any, Literal

import msgspec

Finish = Literal["stop", "length", "tool_calls"]
"""Reason of the end: a stop mark, `max_tokens` or a full context, or calls of tools."""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call in an answer."""

    id: str  #: "call_0", "call_1"... in the order of the answer
    name: str  #: name of the tool
    arguments: str  #: arguments as JSON text
    parsed: dict[str, Any]  #: arguments as values


class TokenScore(msgspec.Struct, frozen=True, kw_only=True):
    """Log-probability of one token under the model, before sampling changes it, and those of the likeliest tokens."""

    token: int  #: id in the vocabulary
    text: str  #: text of the token
    logprob: float  #: natural logarithm of the probability
    top: tuple[tuple[str, float], ...] = ()  #: text and logprob of the likeliest tokens, as many as `logprobs` asks for


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens and time of one call."""

    prompt_tokens: int = 0
    reused_tokens: int = 0  #: tokens of the prompt that were in the KV cache already
    completion_tokens: int = 0  #: tokens of the answer
    reasoning_tokens: int = 0  #: those of them that are reasoning
    queued_seconds: float = 0.0  #: from the call to its place in the batch
    first_token_seconds: float = 0.0  #: from the call to its first token
    total_seconds: float = 0.0  #: from the call to its end
    preemptions: int = 0  #: times that the call lost its place and was resumed

    @property
    def total_tokens(self) -> int:
        """Tokens of prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


class Piece(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Part of a stream. The last piece has `finish`, `usage`, and the tool calls if there are any."""

    text: str = ""
    reasoning: str = ""  #: what the model thinks before it answers
    tokens: tuple[int, ...] = ()  #: tokens of the text; their bytes may belong to a later piece
    scores: tuple[TokenScore, ...] = ()  #: one for each token, if `logprobs` asks for them
    finish: Finish | None = None  #: reason of the end; None: more pieces follow
    usage: Usage | None = None
    tool_calls: tuple[ToolCall, ...] = ()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """Whole answer of one call."""

    text: str
    finish: Finish  #: reason of the end
    usage: Usage
    reasoning: str = ""  #: what the model thought before it answered
    tokens: tuple[int, ...] = ()
    scores: tuple[TokenScore, ...] = ()  #: one for each token, if `logprobs` asks for them
    tool_calls: tuple[ToolCall, ...] = ()  #: calls in the answer; their text is not in `text`


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Settings and counts of one engine. Everything that was dropped, evicted or refused is counted."""

    path: str  #: file of the model
    architecture: str
    device: str  #: device that computes, by its description
    layout: str  #: layout of the KV cache: "split" or "unified"
    width: int  #: most sequences decoded in one step
    width_chosen: str  #: how the width was chosen: "configured", the measurement in words, or "not measured" so far
    sequences: int  #: sequences that the KV cache has room for, now; it grows to `width` of them
    context: int  #: most tokens of one call
    context_chosen: str = ""  #: why so many, in words: "configured", what the model was trained for, or what fits
    sequence_tokens: int = 0  #: tokens that a sequence has room for, now; it grows to `context` of them
    kv_type: str = "f16"  #: type of the numbers in the KV cache
    pool: int  #: tokens of the KV cache
    threads: int  #: threads that compute
    gpu_layers: int  #: layers on the GPU; -1: all
    memory_bytes: int  #: weights and KV cache
    running: int  #: calls with a place in the batch, now
    waiting: int  #: calls in the queue, now
    finished: int
    failed: int
    cancelled: int
    expired: int  #: calls that ended with `DeadlineExceeded`
    refused: int  #: calls that ended with `Overloaded`
    preempted: int  #: times that a call lost its place to another
    prompt_tokens: int
    reused_tokens: int  #: prompt tokens that were in the KV cache already
    completion_tokens: int
    resident_prefix_tokens: int  #: tokens of finished calls in the KV cache, now
    evicted_prefix_tokens: int  #: tokens of finished calls that made room
    steps: int
    decode_seconds: float  #: time in llama.cpp's decode
    engine_seconds: float  #: time of the steps outside of decode: scheduling, sampling, delivery
    used_tokens: int = (
        0  #: tokens in the KV cache, now, of running and finished calls; those that calls share count once
    )
    kept_hits: int = 0  #: calls whose beginning was restored from outside the KV cache
    kept_tokens: int = 0  #: tokens that were restored so; they count as reused too
    kept_saved_tokens: int = 0  #: tokens of finished calls that were put there
    kept_unsaved: int = 0  #: prompts that were not put there: their place was needed first, or too many waited
    kept_memory_bytes: int = 0  #: bytes of them in memory, now
    kept_disk_bytes: int = 0  #: bytes of all files in `cache_dir`, when they were last looked at
    kept_refused: int = 0  #: files that were refused and removed
    proposed_tokens: int = 0  #: tokens that were guessed and put into a step, to be found right or wrong
    accepted_tokens: int = 0  #: those that were right
    restarts: int = 0  #: starts of a worker process after the first; 0 for an engine in this process
