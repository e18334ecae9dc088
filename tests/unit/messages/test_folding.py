"""Chunks fold into an answer, and an answer into chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.messages import values
from three_mode.messages import (
    Chunk,
    Finish,
    Folding,
    Image,
    LLMResponse,
    Start,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolDelta,
    Usage,
    UsageUpdate,
    chunks_of,
    fold,
)


def test_text_in_pieces_is_one_part() -> None:
    reply = fold([Start(model="m", provider="p"), TextDelta("Good "), TextDelta("morning"), Finish("stop", 0.5)])
    assert reply.parts == (Text("Good morning"),)
    assert (reply.content, reply.model, reply.provider, reply.latency) == ("Good morning", "m", "p", 0.5)


def test_parallel_tool_calls_are_kept_apart_by_index() -> None:
    reply = fold(
        [
            ToolDelta(0, "a", "add", '{"x":'),
            ToolDelta(1, "b", "mul", '{"y"'),
            ToolDelta(0, arguments="1}"),
            ToolDelta(1, arguments=":2}"),
            Finish("tool_calls"),
        ]
    )
    assert reply.tool_calls == (ToolCall("a", "add", {"x": 1}), ToolCall("b", "mul", {"y": 2}))


def test_thinking_keeps_its_signature() -> None:
    reply = fold([ThinkingDelta("so", provider="p"), ThinkingDelta(" so", "sig"), TextDelta("x", 1), Finish()])
    assert reply.parts == (Thinking("so so", "sig", provider="p"), Text("x"))
    assert (reply.thinking, reply.content) == ("so so", "x")


def test_the_last_usage_counts() -> None:
    assert fold([UsageUpdate(Usage(1, 1)), UsageUpdate(Usage(1, 9)), Finish()]).usage == Usage(1, 9)


def test_what_came_before_a_break_is_there() -> None:
    folding = Folding()
    assert not folding.has_content
    folding.add(Start(model="m"))
    folding.add(TextDelta(""))
    assert not folding.has_content, "a start and an empty delta are not content"
    folding.add(TextDelta("half"))
    assert folding.has_content
    assert not folding.finished
    assert folding.response().content == "half"
    assert folding.response().finish_reason == "cancelled"


@pytest.mark.parametrize("chunk", [Start(), ThinkingDelta("x"), ToolDelta(), UsageUpdate(), Finish()])
def test_every_chunk_has_text(chunk: Chunk) -> None:
    assert chunk.text == ""


def told_apart(response: LLMResponse) -> LLMResponse:
    """An answer as a stream can say it: no empty text, and a call has parsed arguments or raw ones."""
    import msgspec

    def kept(part: object) -> bool:
        return not isinstance(part, Text) or bool(part.text)

    def plain(part: object) -> object:
        if isinstance(part, Text):
            return Text(part.text)
        if isinstance(part, ToolCall):
            return ToolCall(part.id, part.name, part.arguments, signature=part.signature or None)
        if isinstance(part, Thinking):
            return Thinking(part.text, part.signature or None, part.redacted or None, part.provider or None)
        return part

    return msgspec.structs.replace(response, parts=tuple(plain(part) for part in response.parts if kept(part)))


@given(values.responses)
def test_an_answer_survives_being_streamed(response: LLMResponse) -> None:
    response = told_apart(response)
    assert fold(chunks_of(response)) == response


@given(st.lists(values.chunks, max_size=20))
def test_any_chunks_in_any_order_fold(chunks: list[Chunk]) -> None:
    fold(chunks)


def test_an_answer_with_an_image_cannot_be_streamed() -> None:
    with pytest.raises(TypeError, match="Image"):
        list(chunks_of(LLMResponse(parts=(Image(url="https://host/cat.png"),))))
