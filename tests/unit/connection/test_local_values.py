"""Requests into calls of a local model and its answers back; every error of its tree has a place in ours."""

from typing import Any

import pytest
from hypothesis import given

import local_models
from local_models import Generate, Piece, Reply
from tests.support.messages import values
from three_mode import errors
from three_mode.channels.local import values as wire
from three_mode.errors import InvalidRequest, ThreeModeError, UnsupportedParameter
from three_mode.messages import Chunk, Finish, LLMRequest, Text, TextDelta, Tool, ToolCall, Usage, fold

ASK = [{"role": "user", "content": "Hello!"}]


def test_fields_become_options_that_a_model_takes() -> None:
    request = LLMRequest(
        messages=ASK,
        max_tokens=7,
        temperature=0,
        top_p=0.5,
        seed=3,
        stop="END",
        extra={"top_k": 5, "agent": "scout/7"},
    )
    options = wire.options_of(request, within=2.0)
    assert Generate(**options) == Generate(
        max_tokens=7, temperature=0, top_p=0.5, seed=3, stop=("END",), top_k=5, agent="scout/7", within=2.0
    )


@pytest.mark.parametrize("choice", [None, "auto", "none", "required", "mul"])
def test_tools_and_the_choice_among_them(choice: str | None) -> None:
    tools = [Tool("add"), Tool("mul")]
    options = wire.options_of(LLMRequest(messages=ASK, tools=tools, tool_choice=choice), None)
    assert [tool["function"]["name"] for tool in options["tools"]] == ["add", "mul"]
    assert Generate(**options).tool_choice == (choice or "auto")


def test_an_answer_format_is_a_schema() -> None:
    options = wire.options_of(LLMRequest(messages=ASK, response_format=list[int]), None)
    assert options["schema"] == {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize("extra", [{"topk": 5}, {"temperature": 0.5}])
def test_an_option_that_no_local_model_has_is_an_error(extra: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        wire.options_of(LLMRequest(messages=ASK, extra=extra), None)
    assert caught.value.field == f"extra.{next(iter(extra))}"


def test_messages_of_a_conversation_with_tools() -> None:
    request = LLMRequest(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "3?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "function": {"name": "add", "arguments": '{"x": 2}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "5"},
        ]
    )
    assert wire.messages_of(request) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2+3?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"x": 2}'}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "5", "name": "add"},
    ]


def test_an_image_is_passed_on_with_its_address() -> None:
    """The engine decides: a model may have a projector, and nothing is fetched."""
    image = {"type": "image_url", "image_url": {"url": "https://host/cat.png"}}
    (message,) = wire.messages_of(
        LLMRequest(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, image]}])
    )
    assert message["content"] == [{"type": "text", "text": "x"}, image]


@given(values.requests)
def test_every_request_is_a_call_or_a_named_error(request_value: LLMRequest) -> None:
    try:
        wire.messages_of(request_value)
        wire.options_of(request_value, 1.0)
    except InvalidRequest as error:
        assert error.field is not None  # noqa: PT017


def test_pieces_fold_into_what_the_whole_reply_says() -> None:
    used = local_models.Usage(prompt_tokens=9, reused_tokens=4, completion_tokens=3)
    call = local_models.ToolCall(id="c", name="add", arguments='{"x": 1}', parsed={"x": 1})
    reply = Reply(text="So: ", finish="tool_calls", usage=used, tool_calls=(call,))
    pieces = [Piece(text="So"), Piece(text=": "), Piece(finish="tool_calls", usage=used, tool_calls=(call,))]
    chunks: list[Chunk] = [chunk for piece in pieces for chunk in wire.chunks_of_piece(piece, 0.5)]
    streamed, whole = fold(chunks), wire.response_of(reply, "tiny", 0.5, "r1")
    assert chunks[0] == TextDelta("So")
    assert isinstance(chunks[-1], Finish)
    assert whole.parts == streamed.parts == (Text("So: "), ToolCall("c", "add", {"x": 1}))
    assert whole.usage == streamed.usage == Usage(9, 3, cache_read_tokens=4)
    assert (whole.finish_reason, whole.provider, whole.latency) == ("tool_calls", "local", 0.5)


def all_errors(kind: type[local_models.LocalModelError]) -> list[type[local_models.LocalModelError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_errors(child))]


@pytest.mark.parametrize("kind", all_errors(local_models.LocalModelError))
def test_every_error_of_the_engine_is_one_of_ours(kind: type[local_models.LocalModelError]) -> None:
    made: dict[str, tuple[Any, ...]] = {"PromptTooLong": (10, 5), "DeadlineExceeded": ("queue", 1.0)}
    ours = wire.error_of(kind(*made.get(kind.__name__, ("it broke",))), "tiny")
    assert isinstance(ours, ThreeModeError)
    if issubclass(kind, local_models.BadOption):
        assert isinstance(ours, InvalidRequest)
    if issubclass(kind, local_models.Overloaded):
        assert isinstance(ours, errors.Overloaded)
