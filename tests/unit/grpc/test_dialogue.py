"""What may be said in a conversation, and when a model answers: without a network and without a model."""

import pytest

from three_mode.errors import InvalidRequest
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import LLMResponse, Message, Text, ToolCall, ToolResult
from three_mode.serve.surfaces.grpc.dialogue import Dialogue

CALLS = LLMResponse(parts=(Text("let me see"), ToolCall("a", "add"), ToolCall("b", "mul")))


def opened(*messages: pb.Message, most_messages: int = 100, most_bytes: int = 10_000, **fields) -> Dialogue:
    return Dialogue(pb.ChatRequest(model="m", messages=messages, **fields), most_messages, most_bytes)


def said(dialogue: Dialogue) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in dialogue.request(1.0).messages]


def test_it_begins_with_an_answer_where_somebody_asks() -> None:
    assert opened(pb.Message(role="user", content="hi")).begins_with_answer
    assert not opened(pb.Message(role="system", content="be brief")).begins_with_answer
    assert not opened().begins_with_answer


def test_options_are_those_of_what_opened_it() -> None:
    dialogue = opened(pb.Message(role="user", content="hi"), temperature=0.5, within=3)
    request = dialogue.request(2.0)
    assert (request.model, request.temperature, request.within, dialogue.turn) == ("m", 0.5, 2.0, 1)


def test_wrong_options_are_refused_when_it_opens() -> None:
    with pytest.raises(InvalidRequest):
        opened(top_p=7)


def test_turns_follow_one_another() -> None:
    dialogue = opened(pb.Message(role="user", content="hi"))
    dialogue.answered(LLMResponse.of("hello"), whole=True)
    assert dialogue.say(Message("user", "and?"), 4)
    assert said(dialogue) == [("user", "hi"), ("assistant", "hello"), ("user", "and?")]


def test_calls_wait_for_all_their_results() -> None:
    dialogue = opened(pb.Message(role="user", content="hi"))
    dialogue.answered(CALLS, whole=True)
    with pytest.raises(InvalidRequest, match="a, b have no result"):
        dialogue.say(Message("user", "well?"), 5)
    assert not dialogue.add_result(ToolResult("b", "6"), 1)
    with pytest.raises(InvalidRequest, match="no call 'b' waits"):
        dialogue.add_result(ToolResult("b", "6"), 1)
    assert dialogue.add_result(ToolResult("a", "5"), 1)
    last = dialogue.request(1.0).messages[-1]
    assert (last.role, [part.call_id for part in last.parts]) == ("tool", ["b", "a"])


def test_half_an_answer_stays_without_its_calls() -> None:
    dialogue = opened(pb.Message(role="user", content="hi"))
    dialogue.answered(CALLS, whole=False)
    assert dialogue.say(Message("user", "well?"), 5)
    assert said(dialogue)[1] == ("assistant", "let me see")


def test_a_conversation_that_is_opened_with_calls_takes_their_results() -> None:
    call = pb.Part(tool_call=pb.ToolCall(id="a", name="add", arguments="{}"))
    dialogue = opened(pb.Message(role="user", content="hi"), pb.Message(role="assistant", parts=[call]))
    assert not dialogue.begins_with_answer
    assert dialogue.add_result(ToolResult("a", "5"), 1)


def test_bounds() -> None:
    few = opened(pb.Message(role="user", content="hi"), most_messages=1)
    with pytest.raises(InvalidRequest, match="at most 1 messages"):
        few.say(Message("user", "x"), 1)
    small = opened(pb.Message(role="user", content="hi"), most_bytes=50)
    with pytest.raises(InvalidRequest, match="50 bytes"):
        small.say(Message("user", "x" * 60), 60)
