"""Anthropic's bodies into requests, and answers as its bodies and events. What does not fit names the field."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode.errors import InvalidRequest, NotFound, Overloaded
from three_mode.messages import (
    Chunk,
    Finish,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolCall,
    ToolDelta,
    ToolResult,
    Usage,
    UsageUpdate,
    chunks_of,
    fold,
)
from three_mode.providers import codec_of, profile_of
from three_mode.providers.anthropic import api_url
from three_mode.serve.faults import fault, from_error
from three_mode.serve.surfaces.anthropic_messages.body import MessagesQuestion, _read_any, read_messages
from three_mode.serve.surfaces.anthropic_messages.events import EventWriter
from three_mode.serve.surfaces.anthropic_messages.proofs import opened, sealed
from three_mode.serve.surfaces.anthropic_messages.refusals import anthropic_fault
from three_mode.serve.surfaces.anthropic_messages.reply import message

BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}
LOCAL = {"type": "url", "url": "file:///etc/hostname"}
CODEC = codec_of(profile_of("anthropic"))


def asked(**fields: Any) -> MessagesQuestion:
    return read_messages(json.dumps({**BODY, **fields}).encode(), 5.0)


def events(chunks: list[Chunk], **options: Any) -> list[dict[str, Any]]:
    """The events, each of which names its kind twice."""
    writer, found = EventWriter("msg_1", "m", **options), []
    for text in b"".join(map(writer.write, chunks)).decode().split("\n\n")[:-1]:
        kind, _, data = text.partition("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


def read_back(chunks: list[Chunk]) -> LLMResponse:
    """The answer that a client of ours reads out of the events."""
    decoder, writer = CODEC.decoder(), EventWriter("msg_1", "m")
    return fold([chunk for piece in chunks for chunk in decoder.feed(writer.write(piece))])


def test_all_that_a_request_says_is_translated() -> None:
    mark, plain = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}
    error = [{"type": "text", "text": "no"}]
    data = base64.b64encode(b"picture").decode()
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    question = asked(
        system=[{"type": "text", "text": "Be brief.", "cache_control": mark}],
        stream=True,
        stop_sequences=["END"],
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        metadata={"user_id": "u"},
        service_tier="auto",
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        thinking={"type": "enabled", "budget_tokens": 2000, "display": "omitted"},
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        tools=[{"name": "f", "description": "Does.", "input_schema": {"type": "object"}, "cache_control": plain}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Look"}, picture]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "ZGF0YQ=="},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}, "caller": None},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [*error, picture]},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        cache_control={"type": "ephemeral"},
    )  # fmt: skip
    assert (question.stream, question.shows_thinking) == (True, False)
    request = question.request
    image = Image(data=b"picture", mime="image/png")
    assert request == LLMRequest(
        model="m",
        within=5.0,
        max_tokens=9,
        stop=["END"],
        temperature=0.5,
        top_p=0.9,
        metadata={"user_id": "u"},
        reasoning={"effort": "low", "budget_tokens": 2000},
        response_format={"json_schema": {"type": "object"}},
        tools=[Tool("f", "Does.", {"type": "object"}, cache="5m")],
        tool_choice="required",
        extra={"top_k": 3, "parallel_tool_calls": False},
        messages=[
            Message("system", (Text("Be brief.", "1h"),)),
            Message("user", (Text("Look"), image)),
            Message(
                "assistant",
                (
                    Thinking("Hm.", "c2ln", provider="anthropic"),
                    Thinking(redacted="ZGF0YQ==", provider="anthropic"),
                    ToolCall("t1", "f", {"x": 1}),
                ),
            ),
            Message("tool", (ToolResult("t1", (Text("no"), image), is_error=True),)),
            Message("user", (Text("And?", "5m"),)),
        ],
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": LOCAL}]}]},
            "messages[0].content[0].source.url",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
            "messages[0].content[0]",
        ),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"tools": [{"name": "web", "type": "web_search_20250305"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"stop_sequences": [""]}, "stop"),
    ],
)  # fmt: skip
def test_what_does_not_fit_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        asked(**fields)
    assert told.value.field == field


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000])
def test_what_is_no_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_messages(body, 5.0)
    with pytest.raises(InvalidRequest, match="at most 1 messages"):
        read_messages(json.dumps(BODY | {"messages": BODY["messages"] * 2}).encode(), 5.0, 1)  # type: ignore[operator]


@given(values.names | st.none(), values.names | st.none())
def test_a_proof_comes_back_with_the_name_of_its_provider(provider: str | None, proof: str | None) -> None:
    assert opened(sealed(provider, proof)) == (provider, proof)
    assert sealed("anthropic", "c2ln") == "c2ln"


ARGUMENTS = st.dictionaries(values.names, st.integers() | values.words, max_size=3)
PARTS = (
    st.builds(Text, values.names)
    | st.builds(ToolCall, values.names, values.names, ARGUMENTS)
    | st.builds(Thinking, values.names, values.names, provider=st.just("anthropic"))
    | st.builds(Thinking, redacted=values.names, provider=st.just("anthropic"))
)
USAGES = st.builds(
    lambda new, read, written, out, thought: Usage(new + read + written, out, read, written, thought),
    *[values.counts] * 5,
)
RESPONSES = st.builds(
    LLMResponse,
    parts=st.lists(PARTS, max_size=5).map(tuple),
    model=values.names,
    usage=USAGES,
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "pause"]),
)


@given(RESPONSES)
def test_an_answer_is_the_same_whole_and_streamed_and_as_the_next_message(response: LLMResponse) -> None:
    body = message(response, "msg_1")
    for found in (CODEC.decode(body), read_back(list(chunks_of(response)))):
        assert found.parts == response.parts
        assert (found.model, found.usage, found.finish_reason) == (
            response.model,
            response.usage,
            response.finish_reason,
        )
        assert found.request_id == "msg_1"
    if response.parts:
        said = json.loads(body)["content"]
        again = asked(messages=[{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": said}])
        assert again.request.messages[1] == response.message


@given(st.lists(ARGUMENTS, min_size=1, max_size=4), st.data())
def test_blocks_come_one_after_the_other_however_the_calls_arrive(
    given_: list[dict[str, Any]], data: st.DataObject
) -> None:
    pieces: dict[int, list[Chunk]] = {}
    for index, arguments in enumerate(given_):
        text = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(text)))
        pieces[index] = [
            ToolDelta(index, f"id{index}", "f"),
            ToolDelta(index, arguments=text[:cut]),
            ToolDelta(index, arguments=text[cut:]),
        ]
    pieces[99] = [TextDelta("a"), TextDelta("b")]
    chunks: list[Chunk] = []
    while any(pieces.values()):
        place = data.draw(st.sampled_from([index for index, rest in pieces.items() if rest]))
        chunks.append(pieces[place].pop(0))
    chunks.append(Finish("tool_calls"))
    open_ = None
    for event in events(chunks):
        match event["type"]:
            case "content_block_start":
                assert open_ is None
                open_ = event["index"]
            case "content_block_delta":
                assert event["index"] == open_
            case "content_block_stop":
                assert event["index"] == open_
                open_ = None
    assert open_ is None
    found = read_back(chunks)
    assert {call.id: call.arguments for call in found.tool_calls} == {f"id{n}": a for n, a in enumerate(given_)}
    assert found.content == "ab"


def test_a_stream_has_the_events_of_anthropic_in_their_order() -> None:
    chunks: list[Chunk] = [
        Start("brain", "local"),
        ThinkingDelta("Hm", provider="deepseek"),
        TextDelta("Hi"),
        TextDelta("!"),
        ToolDelta(0, None, "f"),
        UsageUpdate(Usage(10, 4, 3, 2)),
        Finish("tool_calls"),
    ]
    found = events(chunks)
    assert [event["type"].removeprefix("content_block_") for event in found] == [
        *("message_start", "start", "delta", "delta", "stop", "start", "delta", "delta", "stop", "start", "stop"),
        *("message_delta", "message_stop"),
    ]
    assert found[0]["message"]["model"] == "brain"
    assert found[3]["delta"] == {"type": "signature_delta", "signature": "three-mode:deepseek:"}
    assert found[9]["content_block"] == {"type": "tool_use", "id": "toolu_msg_1_2", "name": "f", "input": {}}
    assert found[11]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert found[11]["usage"]["input_tokens"] == 5
    hidden = events([ThinkingDelta("secret", "c2ln", provider="anthropic"), Finish()], shows_thinking=False)
    assert "secret" not in str(hidden)
    assert "c2ln" in str(hidden)


def test_the_text_that_ended_an_answer_is_named_where_it_is_known() -> None:
    response = LLMResponse(parts=(Text("a"),), extra={"stop_sequence": "END"})
    assert json.loads(message(response, "msg_1"))["stop_reason"] == "stop_sequence"
    assert events([Finish(extra={"stop_sequence": "END"})])[1]["delta"]["stop_sequence"] == "END"


def test_refusals_have_the_types_of_anthropic() -> None:
    for given_, status, kind in (
        (fault(401, "wrong API key", "invalid_api_key"), 401, "authentication_error"),
        (fault(413, "too long", "body_too_large"), 413, "request_too_large"),
        (fault(405, "takes POST", "method_not_allowed"), 405, "invalid_request_error"),
        (from_error(NotFound("no such model")), 404, "not_found_error"),
        (from_error(Overloaded("full", retry_after=2.0)), 529, "overloaded_error"),
        (fault(500, "unforeseen", "internal_error"), 500, "api_error"),
    ):
        told = anthropic_fault(given_)
        said = json.loads(told.body)
        assert (told.status, said["type"], said["error"]["type"]) == (status, "error", kind)
        assert told.retry_after == given_.retry_after
    field = json.loads(anthropic_fault(from_error(InvalidRequest("is above 0", field="top_p"))).body)
    assert field["error"]["message"].startswith("top_p: ")


@pytest.mark.parametrize(
    ("given_", "url"),
    [
        ("http://x", "http://x/v1"),
        ("http://x/", "http://x/v1"),
        ("http://x/v1", "http://x/v1"),
        ("http://x/v1/", "http://x/v1"),
        ("http://x/anthropic", "http://x/anthropic/v1"),
        ("http://x/v1beta", "http://x/v1beta"),
    ],
)
def test_a_base_url_is_taken_as_the_sdk_takes_it(given_: str, url: str) -> None:
    assert api_url(given_) == url


_TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", 3])},
        optional={
            "content": st.sampled_from(["Hello!", "", None, [], [{"type": "text", "text": "a"}], 3]),
            "odd": st.just(1),
        },
    ),
    max_size=3,
)
_BODIES = st.fixed_dictionaries(
    {"model": st.sampled_from(["m", "", " ", None, 3]), "messages": _TURNS},
    optional={
        "max_tokens": st.sampled_from([5, 0, -1, "5", None]),
        "system": st.sampled_from(["Be brief.", "", None, [{"type": "text", "text": "a"}]]),
        "stream": st.sampled_from([True, False, None, 1]),
        "temperature": st.sampled_from([0, 0.5, 3, True, None]),
        "user": st.just("me"),
    },
)


@given(_BODIES, st.integers(0, 3))
def test_a_body_of_few_fields_is_read_as_any_other(body: dict[str, Any], most: int) -> None:
    def read(how: Any) -> object:
        try:
            return how(json.dumps(body).encode(), 5.0, most)
        except InvalidRequest as error:
            return str(error), error.field

    assert read(read_messages) == read(_read_any)
