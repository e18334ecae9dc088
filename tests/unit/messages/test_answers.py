"""Answers of agents: text, replies and dicts in the shapes that models answer in; what fits none is an error."""

from decimal import Decimal
from typing import Any

import pytest

from three_mode.agents.handlers.codec import encode
from three_mode.agents.model import read_reply
from three_mode.messages import LLMResponse, Text, TextDelta, Thinking, ToolCall, Usage
from three_mode.messages.answers import chunks_from, reply_from


def said(value: Any) -> dict[str, Any]:
    """What a reply says that is made of a value, which has travelled."""
    reply = read_reply(encode(value))
    assert isinstance(reply, LLMResponse)
    return {
        name: found
        for name in LLMResponse.__struct_fields__
        if name != "created_at" and (found := getattr(reply, name)) != getattr(LLMResponse(), name)
    }


def test_text() -> None:
    assert said("Hello!") == {"parts": (Text("Hello!"),)}
    assert said("") == {}


def test_a_reply_comes_as_it_went_also_an_empty_one() -> None:
    usage = Usage(3, 4, cost=Decimal("0.01"))
    reply = LLMResponse(parts=(Text("x"),), model="m", usage=usage, extra={"a": 1})
    assert read_reply(encode(reply)) == reply
    empty = LLMResponse(model="m", finish_reason="length", usage=usage)
    assert read_reply(encode(empty)) == empty
    assert read_reply(encode(LLMResponse())).parts == ()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"content": "x"}, {"parts": (Text("x"),)}),
        ({"text": "x"}, {"parts": (Text("x"),)}),
        ({"role": "assistant", "content": "x", "refusal": None}, {"parts": (Text("x"),)}),
        ({"content": [{"type": "text", "text": "x"}]}, {"parts": (Text("x"),)}),
        ({"content": "x", "reasoning_content": "y"}, {"parts": (Thinking("y"), Text("x"))}),
        ({"content": "x", "model": "m", "finish_reason": "length"}, None),
        ({"content": "x", "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}, None),
        ({"parts": [{"type": "text", "text": "x"}]}, {"parts": (Text("x"),)}),
    ],
)
def test_a_dict(value: dict[str, Any], wanted: dict[str, Any] | None) -> None:
    found = said(value)
    if wanted is not None:
        assert found == wanted
    else:
        assert found["parts"] == (Text("x"),)
        assert found.get("model", "") == value.get("model", "")
        assert found.get("usage", Usage()) == (Usage(1, 2) if "usage" in value else Usage())
        assert found.get("finish_reason", "stop") == value.get("finish_reason", "stop")


def test_a_reply_of_openais_api() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    value = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": "x", "tool_calls": [call]},
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    assert said(value) == {
        "parts": (Text("x"), ToolCall("c", "f", {"a": 1})),
        "model": "m",
        "usage": Usage(1, 2),
        "finish_reason": "tool_calls",
    }
    assert said({"content": None, "tool_calls": [call]}) == {"parts": (ToolCall("c", "f", {"a": 1}),)}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({}, "an empty dict is no answer of a model"),
        ({"answer": "x"}, "a dict with 'answer' is no answer of a model"),
        ({"content": "x", "mood": "good"}, "an answer has no field 'mood'"),
        ({"content": 3}, "content is a string or a list of parts"),
        ({"role": "user", "content": "x"}, "an answer has the role assistant, not 'user'"),
        ({"choices": [{}]}, "has no message"),
        ({"choices": []}, "a dict with 'choices' is no answer"),
        ({"parts": [{"type": "nothing"}]}, "Invalid value 'nothing'"),
        ({"content": "x", "model": 3}, "Expected `str`"),
        ({"content": "x", "usage": {"input_tokens": "many"}}, "Expected `int`"),
        ({"created_at": 3, "answer": "x"}, "is no answer of a model"),
        (None, "nothing is no answer of a model"),
        (3, "a value of type int is no answer of a model"),
        (["x"], "a value of type list is no answer of a model"),
        (b"x", "a value of type bytes is no answer of a model"),
    ],
)
def test_what_fits_nothing_is_an_error_that_says_what_came(value: Any, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_reply(encode(value))
    assert error in str(caught.value)
    assert "secret" not in str(caught.value)


def test_pieces_of_a_stream() -> None:
    assert chunks_from("x") == [TextDelta("x")]
    assert chunks_from("") == []
    assert chunks_from(TextDelta("x")) == [TextDelta("x")]
    assert chunks_from([TextDelta("x")]) == [TextDelta("x")]
    assert reply_from({"text": "x"}).content == "x"
