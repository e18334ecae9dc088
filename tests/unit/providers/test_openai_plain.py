"""Plain replies of OpenAI's format, decoded in C: what the reader of all replies makes of them, or nothing."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from three_mode.errors import LLMError
from three_mode.messages import LLMResponse
from three_mode.providers.catalogue import codec_of, profile_of
from three_mode.providers.openai import OpenAICodec
from three_mode.providers.openai_plain import plain_reply
from three_mode.providers.openai_reply import FINISH, response
from three_mode.providers.pieces import reading

PROFILE = profile_of("openai")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
ANY = st.sampled_from([None, "", "x", 0, 3, -1, 2.5, True, [], ["y"], {}, {"z": 1}, 1 << 70])
USUAL: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 12,
        "total_tokens": 21,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp",
}


def fields(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(names), ANY, max_size=3)


def both(body: bytes) -> tuple[LLMResponse | None, LLMResponse | None]:
    """What the decoder of plain replies says, and what the reader of all says; None: no reply."""
    plain = plain_reply(body, "openai", FINISH)
    try:
        read = reading(PROFILE, lambda reply: response(reply, PROFILE), body)
    except LLMError:
        return plain, None
    return plain and replace(plain, created_at=WHEN), replace(read, created_at=WHEN)


def test_what_openai_usually_says_is_plain() -> None:
    plain, read = both(json.dumps(USUAL).encode())
    assert plain == read
    assert plain is not None
    assert (plain.content, plain.usage.input_tokens, plain.usage.cache_read_tokens) == ("Hello!", 9, 4)
    assert plain.extra == {"annotations": [], "service_tier": "default", "system_fingerprint": "fp"}


@given(
    top=fields("id", "object", "created", "model", "usage", "service_tier", "error", "odd", "prompt_logprobs"),
    choice=fields("index", "finish_reason", "logprobs", "stop_reason", "text", "odd"),
    message=fields("role", "content", "refusal", "tool_calls", "reasoning_content", "reasoning", "annotations", "odd"),
    usage=fields("prompt_tokens", "completion_tokens", "prompt_cache_hit_tokens", "odd"),
    details=fields("cached_tokens", "cache_write_tokens", "reasoning_tokens", "odd"),
    reason=st.sampled_from(["stop", "eos", "length", "tool_calls", "odd"]),
    count=st.integers(0, 2),
)
def test_a_plain_reply_says_what_the_reader_of_all_says(
    top: dict[str, Any],
    choice: dict[str, Any],
    message: dict[str, Any],
    usage: dict[str, Any],
    details: dict[str, Any],
    reason: str,
    count: int,
) -> None:
    one = {"finish_reason": reason, "message": {"content": "Hello!"} | message} | choice
    used = {"prompt_tokens": 9, "prompt_tokens_details": details, "completion_tokens_details": details} | usage
    plain, read = both(json.dumps({"choices": [one] * count, "usage": used} | top).encode())
    assert plain is None or plain == read


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'{"choices":[]}', b'{"choices":[{"message":{"content":"\xff"}}]}', b"[" * 5_000],
)
def test_what_is_no_reply_is_not_plain(body: bytes) -> None:
    assert plain_reply(body, "openai", FINISH) is None


def test_the_codec_reads_all_others() -> None:
    codec = codec_of(PROFILE)
    assert isinstance(codec, OpenAICodec)
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    odd = USUAL | {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    assert codec.decode(json.dumps(odd).encode()).tool_calls[0].name == "add"
