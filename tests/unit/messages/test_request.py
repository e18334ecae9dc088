"""A request is made from plain values, and a wrong one says which field is wrong."""

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from three_mode.errors import BadReply, InvalidRequest
from three_mode.messages import (
    CacheHints,
    Image,
    LLMRequest,
    LLMResponse,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
)
from three_mode.modes import CommunicationMode

USER = {"role": "user", "content": "Hello!"}


def request(**fields: Any) -> LLMRequest:
    return LLMRequest(**{"messages": [USER], **fields})


def test_a_plain_dict_is_a_message() -> None:
    assert request().messages == (Message("user", "Hello!"),)


def test_openai_shapes_are_understood() -> None:
    made = request(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "https://host/cat.png", "detail": "low"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "cat"}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        ],
        tools=[{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
        tool_choice="look",
    )
    assert [message.role for message in made.messages] == ["system", "user", "assistant", "tool"]
    assert made.messages[1].parts == (Text("What is this?"), Image(url="https://host/cat.png", detail="low"))
    assert made.messages[2].parts == (ToolCall("c1", "look", {"at": "cat"}),)
    assert made.messages[3].parts == (ToolResult("c1", "a cat"),)
    assert made.tools == (Tool("look", parameters={"type": "object"}),)
    assert made.system == "Be brief."


def test_arguments_that_are_not_json_are_kept() -> None:
    call = {"id": "c1", "function": {"name": "look", "arguments": '{"at": '}}
    made = request(messages=[USER, {"role": "assistant", "content": "Well", "tool_calls": [call]}])
    assert made.messages[1].parts == (Text("Well"), ToolCall("c1", "look", raw='{"at": '))


def test_words_stand_for_options() -> None:
    made = request(mode="ai_pc", response_format="json", reasoning="low", stop="END", cache={"key": "k"})
    assert made.mode is CommunicationMode.AI_PC
    assert made.response_format == ResponseFormat()
    assert made.reasoning == Reasoning(effort="low")
    assert made.stop == ("END",)
    assert made.cache == CacheHints(key="k")


def test_a_type_is_a_response_format_and_reads_the_answer() -> None:
    @dataclass
    class Capital:
        city: str
        people: int

    made = request(response_format=Capital)
    assert made.response_format is not None
    assert "city" in str(made.response_format.json_schema)
    reply = LLMResponse(parts=(Thinking("hm"), Text('{"city": "Paris", "people": 2000000}')))
    assert reply.parse(Capital) == Capital("Paris", 2_000_000)


def test_openai_json_schema_is_a_response_format() -> None:
    shape = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": False},
    }
    assert request(response_format=shape).response_format == ResponseFormat({"type": "object"}, "n", strict=False)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": []}, "messages", "no messages"),
    ({"messages": "Hello!"}, "messages", "a list, not str"),
    ({"messages": [USER, "Hello!"]}, "messages[1]", "a Message or a dict"),
    ({"messages": [{"content": "x"}]}, "messages[0].role", "no role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "unknown role 'robot'"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "no content"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "not int"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content", "no parts"),
    ({"messages": [{"role": "user", "content": [3]}]}, "messages[0].content[0]", "not int"),
    (
        {"messages": [{"role": "user", "content": [{"type": "sound"}]}]},
        "messages[0].content[0].type",
        "'sound'",
    ),
    ({"messages": [{"role": "user", "content": [{"type": {}}]}]}, "messages[0].content[0].type", "unknown part {}"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]", "`text`"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]},
        "messages[0].content[0].text",
        "int",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "txt": 3}]}]},
        "messages[0].content[0]",
        "`txt`",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        "messages[0].content[0].url",
        "either a url or data",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages[0].content[0].image_url.url",
        "needs a url",
    ),
    ({"messages": [{"role": "user", "content": "x", "nam": "y"}]}, "messages[0].nam", "unknown field"),
    (
        {"messages": [{"role": "assistant", "content": "x", "reasoning_content": 3}]},
        "messages[0].reasoning_content",
        "a string",
    ),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "the id of the call"),
    (
        {"messages": [{"role": "system", "content": [{"type": "image", "url": "https://x"}]}]},
        "messages[0].content[0]",
        "Image",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
        "messages[0].tool_calls[0].function.name",
        "a name",
    ),
    ({"model": "  "}, "model", "a name"),
    ({"mode": "ai_tv"}, "mode", "unknown mode"),
    ({"temperature": -0.1}, "temperature", "at least 0"),
    ({"temperature": float("nan")}, "temperature", "finite"),
    ({"temperature": "hot"}, "temperature", "finite number"),
    ({"top_p": 1.1}, "top_p", "between 0 and 1"),
    ({"max_tokens": 0}, "max_tokens", "at least 1"),
    ({"max_tokens": 1.5}, "max_tokens", "whole number"),
    ({"seed": True}, "seed", "whole number"),
    ({"within": 0}, "within", "above 0"),
    ({"stop": [""]}, "stop", "not empty"),
    ({"stop": 3}, "stop", "not int"),
    ({"stop": {"word": "END"}}, "stop", "not dict"),
    ({"tools": "look"}, "tools", "a list"),
    ({"tools": [{"nam": "look"}]}, "tools[0]", "it has name, description"),
    ({"tools": [{"name": "look", "parameters": 3}]}, "tools[0].parameters", "int"),
    ({"tool_choice": "look"}, "tool_choice", "without tools"),
    ({"tool_choice": "see", "tools": [Tool("look")]}, "tool_choice", "not among the tools"),
    ({"reasoning": {"efort": "low"}}, "reasoning", "`efort`"),
    ({"extra": {"x": object()}}, "extra", "JSON"),
    ({"metadata": [1]}, "metadata", "a dict"),
]


@pytest.mark.parametrize(("fields", "field", "said"), WRONG)
def test_a_wrong_request_names_the_field(fields: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**fields)
    assert caught.value.field == field
    assert said in str(caught.value)


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="temprature"):
        request(temprature=0.0)


def test_an_image_file_is_read_when_it_is_named(tmp_path: Any) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    assert Image.from_file(tmp_path / "cat.png") == Image(data=b"\x89PNG", mime="image/png")
    with pytest.raises(FileNotFoundError):
        Image.from_file(tmp_path / "dog.png")
    (tmp_path / "cat.txt").write_bytes(b"meow")
    with pytest.raises(InvalidRequest, match="needs its type"):
        Image.from_file(tmp_path / "cat.txt")


def test_an_addressed_request_differs_in_nothing_else() -> None:
    asked = LLMRequest(
        model="agent:brain",
        mode="ai_ai",
        messages=[{"role": "user", "content": "Hello!"}],
        stop="x",
        within=3,
        seed=1,
    )
    sent = asked.addressed(None, 0.5)
    assert (sent.model, sent.mode, sent.within) == (None, None, 0.5)
    assert msgspec.structs.replace(sent, model=asked.model, mode=asked.mode, within=asked.within) == asked
    assert (asked.model, asked.within) == ("agent:brain", 3)


def test_a_reply_is_the_next_message_of_its_conversation() -> None:
    call = ToolCall("1", "look", {"at": "it"})
    reply = LLMResponse(
        parts=(Thinking("hm", "proof", provider="anthropic"), Text("Hello!"), call), provider="anthropic"
    )
    messages: list[Any] = [USER]
    messages.append(reply)
    messages.append({"role": "tool", "tool_call_id": "1", "content": "seen"})
    made = request(messages=messages).messages
    assert made[1] == reply.message == Message("assistant", reply.parts)
    assert request(messages=tuple(messages)).messages == made
    assert request(messages=[USER, LLMResponse(), USER]).messages[1] == Message("assistant", "")


def test_a_reply_is_made_of_a_text() -> None:
    reply = LLMResponse.of("Hello!", model="echo", usage=Usage(1, 2))
    assert (reply.content, reply.parts, reply.model, reply.usage.total_tokens) == (
        "Hello!",
        (Text("Hello!"),),
        "echo",
        3,
    )
    assert reply.finish_reason == "stop"
    assert LLMResponse.of("").parts == ()
    with pytest.raises(InvalidRequest, match="made of a text"):
        LLMResponse.of(3)  # type: ignore[arg-type]


def test_a_reply_that_is_not_what_is_parsed_is_an_error_that_names_the_place() -> None:
    reply = LLMResponse(parts=(Text('{"city": 5}'),), model="m", provider="p")
    with pytest.raises(BadReply, match=r"the reply is no dict\[str, str\]: .*\$") as caught:
        reply.parse(dict[str, str])
    assert (caught.value.model, caught.value.provider) == ("m", "p")
    with pytest.raises(BadReply, match="malformed"):
        LLMResponse(parts=(Text("so it is"),)).parse(dict)
    with pytest.raises(InvalidRequest, match="parse takes a type, not 'dict'"):
        reply.parse("dict")  # type: ignore[arg-type]
