"""OpenAI's bodies into requests and back; what does not fit names the field."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode import errors
from three_mode.errors import InvalidRequest
from three_mode.messages import Chunk, LLMResponse, Text, TextDelta, Thinking, ToolCall, Usage
from three_mode.serve import wire_in, wire_out
from three_mode.serve.events import EventHub
from three_mode.serve.faults import from_error
from three_mode.serve.metrics import MOST_MODELS, EndpointMetrics

BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}


def asked(**fields: Any) -> wire_in.ChatQuestion:
    return wire_in.read_chat(json.dumps({**BODY, **fields}).encode(), within=5.0)


def test_what_means_the_same_is_translated_and_the_rest_passed_on() -> None:
    found = asked(
        max_completion_tokens=7,
        reasoning_effort="low",
        stop="END",
        stream=True,
        stream_options={"include_usage": True},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        prompt_cache_key="k",
        user="someone",
        logit_bias={"1": 2},
        n=1,
        frequency_penalty=None,
        logprobs=False,
    )
    request = found.request
    assert (found.stream, found.include_usage) == (True, True)
    assert (request.max_tokens, request.stop, request.tool_choice, request.within) == (7, ("END",), "f", 5.0)
    assert request.reasoning is not None
    assert request.reasoning.effort == "low"
    assert request.cache is not None
    assert request.cache.key == "k"
    assert request.extra == {"user": "someone", "logit_bias": {"1": 2}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"model": None}, "model"),
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"n": 2, "three_mode.conversation": "talk"}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 3}, "stream_options"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": 3}, "stop"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "messages[0].content[0].type"),
    ],
)
def test_a_bad_body_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(**fields)
    assert caught.value.field == field


@given(st.binary(max_size=100) | values.json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_a_request_or_a_named_error(body: bytes) -> None:
    for read in (lambda: wire_in.read_chat(body, 1.0), lambda: wire_in.read_embeddings(body, 1.0)):
        try:
            read()
        except InvalidRequest:
            pass


@given(values.responses)
def test_any_answer_is_json(response: LLMResponse) -> None:
    told = json.loads(wire_out.completion(response, "chatcmpl-1"))
    assert told["choices"][0]["message"]["content"] == (response.content or None)
    assert told["usage"]["total_tokens"] == response.usage.total_tokens


def test_an_answer_with_thinking_and_a_call() -> None:
    parts = (Thinking("hm"), Text("so"), ToolCall("c", "f", {"x": 1}), ToolCall("d", "g", raw="{"))
    told = json.loads(
        wire_out.completion(LLMResponse(parts=parts, finish_reason="tool_calls", usage=Usage(1, 2)), "id")
    )
    message = told["choices"][0]["message"]
    assert message["reasoning_content"] == "hm"
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"x":1}', "{"]


@given(st.lists(values.chunks, max_size=10))
def test_any_chunk_is_an_event(chunks: list[Chunk]) -> None:
    writer = wire_out.ChunkWriter("id", "m", 0, include_usage=True)
    data = writer.first() + b"".join(writer.write(chunk) for chunk in chunks)
    events = data.decode().split("\n\n")
    assert events.pop() == ""
    text = ""
    for event in events:
        assert event.startswith("data: ")
        if event != "data: [DONE]":
            choices = json.loads(event[6:])["choices"]
            text += choices[0]["delta"].get("content", "") if choices else ""
    assert text == "".join(chunk.text for chunk in chunks)


def test_a_text_delta_is_what_the_slow_way_would_write() -> None:
    writer = wire_out.ChunkWriter("id", 'm"odel', 5, include_usage=False)
    told = json.loads(writer.write(TextDelta('"\u2028\n')).removeprefix(b"data: "))
    assert told == {
        "id": "id",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": 'm"odel',
        "choices": [{"index": 0, "delta": {"content": '"\u2028\n'}, "finish_reason": None}],
    }


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_a_status_and_a_code(name: str) -> None:
    fault = from_error(getattr(errors, name)("it broke"))
    assert 400 <= fault.status < 600
    assert json.loads(fault.body)["error"]["message"].startswith("it broke")


def test_a_slow_reader_loses_the_oldest_events_and_is_told() -> None:
    hub = EventHub(buffer=3, clock=lambda: 1.0, kinds=["other"])
    hub.publish("unseen")
    slow, picky = hub.open(), hub.open(["other"])
    for number in range(5):
        hub.publish("tick", number=number)
    hub.publish("other")
    assert hub.dropped == 3
    first = [json.loads(msgspec.json.encode(msgspec.json.decode(_next(slow)))) for _ in range(4)]
    assert first[0] == {"type": "gap", "data": {"count": 3}}
    assert [event["type"] for event in first[1:]] == ["tick", "tick", "other"]
    assert json.loads(_next(picky))["type"] == "other"
    hub.close(slow)
    assert len(hub) == 1


def _next(reader: Any) -> bytes:
    """What `get` gives where something waits: it does not suspend."""
    try:
        reader.get().send(None)
    except StopIteration as done:
        return bytes(done.value)
    raise AssertionError("nothing waits")


def test_metrics_hold_a_bounded_number_of_models() -> None:
    metrics = EndpointMetrics()
    for number in range(MOST_MODELS * 2):
        metrics.finished("/v1/chat/completions", f"m{number}", 200, 0.01)
    metrics.finished("/v1/chat/completions", 'evil"\n', 404, 0.01)
    text = metrics.text(0, 0).decode()
    assert text.count("three_mode_requests_total{") == MOST_MODELS + 2
    assert 'three_mode_request_seconds_bucket{route="/v1/chat/completions",le="+Inf"} 401' in text


@pytest.mark.parametrize("names", [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")])
def test_of_two_names_for_one_limit_the_newer_counts(names: tuple[str, str]) -> None:
    limits = {"max_tokens": 5, "max_completion_tokens": 9}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        **{name: limits[name] for name in names},
    }
    assert wire_in.read_chat(json.dumps(body).encode(), 1.0).request.max_tokens == 9
    assert wire_in.read_chat(json.dumps(body | {"max_completion_tokens": None}).encode(), 1.0).request.max_tokens == 5


_CONTENTS = st.sampled_from(
    [
        *("Hello!", "", None, 3, [], ["a"]),
        [{"type": "text", "text": "a"}],
        [{"type": "text", "text": "a", "odd": 1}],
        [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}],
        [{"type": "image", "url": "https://a/b.png"}],
        [{"type": "tool_result", "call_id": "c", "content": "a"}],
        [{"type": "tool_call", "id": "c", "name": "f"}],
    ]
)
_SAID = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "developer", "assistant", "tool", "robot", 3])},
        optional={"content": _CONTENTS, "name": st.sampled_from(["me", None, 3]), "odd": st.just(1)},
    ),
    max_size=3,
)
_NUMBERS = st.sampled_from([None, 0, 1, 0.5, -1, 2**70, True, "5"])
_BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "", " ", None, 3]), "messages": _SAID | st.just("Hello!")},
    optional={"stream": st.sampled_from([True, False, None, 1]), "max_tokens": _NUMBERS, "temperature": _NUMBERS},
)


@given(_BODIES, st.integers(0, 3))
def test_a_body_of_few_fields_is_read_as_any_other(body: dict[str, Any], most: int) -> None:
    def read(how: Any) -> object:
        try:
            return how(json.dumps(body).encode(), 5.0, most)
        except InvalidRequest as error:
            return str(error), error.field

    assert read(wire_in.read_chat) == read(wire_in._read_any)
