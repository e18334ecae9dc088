"""OpenAI's responses into requests and back; what does not fit names the field."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode.errors import InvalidRequest, StreamInterrupted
from three_mode.messages import (
    Chunk,
    Finish,
    LLMResponse,
    Message,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    ToolResult,
    chunks_of,
)
from three_mode.serve.surfaces.openai_responses import body as bodies
from three_mode.serve.surfaces.openai_responses.items import messages_of, output_items
from three_mode.serve.surfaces.openai_responses.reading import ResponseQuestion, read_response
from three_mode.serve.surfaces.openai_responses.writer import ResponseWriter

TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def asked(**fields: Any) -> ResponseQuestion:
    return read_response(json.dumps({"model": "m", "input": "Hello!", **fields}).encode(), 5.0, 100)


def known(**fields: Any) -> bodies.KnownResponse:
    return bodies.KnownResponse("resp_1", 7, asked(**fields), False)


def events_of(writer: ResponseWriter, chunks: list[Chunk]) -> list[dict[str, Any]]:
    return list(_events(writer.first() + b"".join(writer.write(chunk) for chunk in chunks)))


def _events(said: bytes) -> Iterator[dict[str, Any]]:
    for event in said.split(b"\n\n")[:-1]:
        head, _, data = event.partition(b"\n")
        found = json.loads(data.removeprefix(b"data: "))
        assert head == b"event: " + found["type"].encode()
        yield found


def test_what_means_the_same_is_translated_and_the_rest_passed_on() -> None:
    found = asked(
        instructions="Be brief.",
        max_output_tokens=7,
        reasoning={"effort": "low"},
        stream=True,
        store=False,
        tools=[TOOL],
        tool_choice={"type": "function", "name": "f"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": False}},
        include=["message.output_text.logprobs"],
        top_logprobs=2,
        prompt_cache_key="k",
        top_k=3,
        user=None,
    )
    request = found.request
    assert (found.stream, found.store, found.instructions) == (True, False, "Be brief.")
    assert request.messages == (Message("system", "Be brief."), Message("user", "Hello!"))
    assert (request.max_tokens, request.tool_choice, request.within, request.tools[0].name) == (7, "f", 5.0, "f")
    assert request.reasoning is not None
    assert request.reasoning.effort == "low"
    assert request.response_format is not None
    assert (request.response_format.name, request.response_format.strict) == ("n", False)
    assert request.cache is not None
    assert request.cache.key == "k"
    assert request.extra == {"top_logprobs": 2, "logprobs": True, "top_k": 3}


def test_allowed_tools_are_the_tools() -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]}
    request = asked(tools=[TOOL, {**TOOL, "name": "g"}], tool_choice=choice).request
    assert ([tool.name for tool in request.tools], request.tool_choice) == (["g"], "required")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "ghost", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": ["input_text"]}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "reasoning", "summary": 5}]}, "input[0].summary"),
        ({"input": [{"type": "reasoning", "content": [{"text": 5}]}]}, "input[0].content"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"store": 1}, "store"),
        ({"instructions": 1}, "instructions"),
        ({"tools": [{"type": "mcp"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"text": 3}, "text"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"reasoning": "low"}, "reasoning"),
        ({"include": ["thoughts"]}, "include"),
        ({"n": 2}, "n"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"previous_response_id": "a", "conversation": "b"}, "conversation"),
    ],
)
def test_a_bad_body_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(**fields)
    assert caught.value.field == field


def test_a_turn_of_the_model_is_one_message() -> None:
    messages = messages_of(
        [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:,"}],
            },
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "hm"}]},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "b", "annotations": []}],
            },
            {"type": "function_call", "id": "fc", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "id": "fc", "call_id": "2", "name": "f", "arguments": "no json"},
            {"type": "function_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "x"}]},
            {"type": "function_call_output", "call_id": "2", "output": ""},
            {"type": "reasoning", "summary": []},
        ]
    )
    assert [message.role for message in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1].parts == (Thinking("hm"), Text("b"), ToolCall("1", "f"), ToolCall("2", "f", raw="no json"))
    assert messages[2].parts == (ToolResult("1", (Text("x"),)),)


def test_thinking_of_another_service_is_not_read() -> None:
    for sealed in ("gAAAAA", "three-mode.!", "three-mode.AAAA", 3):
        item = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": sealed}
        call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
        assert messages_of([item, call])[0].parts[0] == Thinking("hm")


def test_blocks_that_change_are_items_of_their_own() -> None:
    chunks: list[Chunk] = [
        Start(model="real"),
        ThinkingDelta("hm"),
        TextDelta("a"),
        ToolDelta(0, "c1", "f", '{"x"'),
        ToolDelta(1, "c2", "g", ""),
        ToolDelta(0, arguments=":1}"),
        TextDelta("b"),
        Finish("tool_calls"),
    ]
    writer = ResponseWriter(known())
    events = events_of(writer, chunks)
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call", "message"]
    assert [output[2]["arguments"], output[3]["arguments"]] == ['{"x":1}', "{}"]
    assert (events[-1]["response"]["model"], events[-1]["response"]["status"]) == ("real", "completed")
    assert len({item["id"] for item in output}) == 5


def test_what_broke_off_keeps_what_came() -> None:
    writer = ResponseWriter(known())
    events_of(writer, [TextDelta("a")])
    (last,) = _events(writer.broken(StreamInterrupted("gone")))
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["output"][0]["content"][0]["text"] == "a"
    assert last["response"]["output"][0]["status"] == "incomplete"


ANSWER_PARTS = st.lists(
    st.one_of(
        st.builds(Text, st.text(min_size=1)),
        st.builds(Thinking, st.text(min_size=1), st.none() | st.text(min_size=1), provider=st.none() | st.just("p")),
        st.builds(ToolCall, st.text(min_size=1), st.text(min_size=1), st.dictionaries(st.text(), st.integers(-5, 5))),
    ),
    max_size=6,
).map(tuple)


@given(ANSWER_PARTS, st.booleans())
def test_a_streamed_answer_is_the_whole_one(parts: tuple[Any, ...], seal: bool) -> None:
    include = ["reasoning.encrypted_content"] if seal else []
    reply = LLMResponse(parts=parts, model="m")
    events = events_of(ResponseWriter(known(include=include)), list(chunks_of(reply)))
    whole = output_items("resp_1", parts, seal)
    final = events[-1]["response"]["output"]
    for streamed, at_once in zip(final, json.loads(json.dumps(whole, default=list)), strict=True):
        if at_once["type"] == "function_call":
            streamed["arguments"], at_once["arguments"] = map(json.loads, (streamed["arguments"], at_once["arguments"]))
        assert streamed == at_once
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    opened = [event["item"]["id"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["item"]["id"] for event in events if event["type"] == "response.output_item.done"]
    assert sorted(opened) == sorted(closed) == sorted(item["id"] for item in final)
    for item in final:
        deltas = [e["delta"] for e in events if e["type"].endswith(".delta") and e["item_id"] == item["id"]]
        match item["type"]:
            case "message":
                assert "".join(deltas) == item["content"][0]["text"]
            case "reasoning":
                assert "".join(deltas) == item["summary"][0]["text"]


@given(ANSWER_PARTS)
def test_an_answer_goes_back_as_it_came(parts: tuple[Any, ...]) -> None:
    """What a client sends back is what the model said, thinking with its proof; but for thinking that led nowhere."""
    items = json.loads(json.dumps(output_items("resp_1", parts, True), default=list))
    back = [part for message in messages_of([*items, {"role": "user", "content": "x"}])[:-1] for part in message.parts]
    assert [part for part in back if not isinstance(part, Thinking)] == [
        part for part in parts if not isinstance(part, Thinking)
    ]
    assert all(part in parts for part in back)
    if parts and not isinstance(parts[-1], Thinking) and all(isinstance(part, Thinking) for part in parts[:-1]):
        assert tuple(back) == parts


FIELDS = ["type", "role", "content", "summary", "text", "output", "call_id", "name", "arguments", "format", "effort"]
NEARLY = st.recursive(
    values.json_values | st.sampled_from(["message", "function_call", "reasoning", "user", "input_text", "function"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
)
NAMED = ["input", "tools", "tool_choice", "text", "reasoning", "include", "conversation", "stream_options"]


@given(NEARLY, st.sampled_from(NAMED))
def test_any_body_is_a_request_or_a_named_error(value: Any, name: str) -> None:
    try:
        asked(**{name: value})
    except InvalidRequest:
        pass


@given(st.binary(max_size=50))
def test_any_bytes_are_a_named_error(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_response(body, 1.0, 100)
