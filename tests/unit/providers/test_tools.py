"""Tools from typed functions, calls to them, and tools by prompt for models that have none."""

import enum
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode import errors
from three_mode.messages import Image, LLMRequest, LLMResponse, Text, ToolCall, ToolResult
from three_mode.providers.emulation import CallsInText, calls_from_text, with_tools_in_prompt
from three_mode.providers.schema import inlined, rooted, strict
from three_mode.providers.tools import call_tool, tool_from


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str = "NO"


def weather(
    place: Place, days: int = 1, unit: Unit = Unit.C, kind: Literal["rain", "sun"] | None = None
) -> dict[str, Any]:
    """The weather of the next days.

    Args:
        place: where
        days (int): how many
    """
    return {"city": place.city, "days": days, "unit": unit.value, "kind": kind}


async def double(x: Annotated[int, msgspec.Meta(ge=0)]) -> int:
    return 2 * x


def test_the_schema_comes_from_the_hints_and_the_words_from_the_docstring() -> None:
    tool = tool_from(weather)
    assert (tool.name, tool.description) == ("weather", "The weather of the next days.")
    schema = tool.parameters
    assert schema["type"] == "object"
    assert schema["required"] == ["place"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["days"] == {"type": "integer", "default": 1, "description": "how many"}
    assert schema["properties"]["place"]["description"] == "where"
    whole = inlined(schema)
    assert whole["properties"]["place"]["properties"]["city"] == {"type": "string"}
    assert whole["properties"]["unit"]["enum"] == ["celsius", "fahrenheit"]


async def test_a_call_is_checked_and_its_result_is_text() -> None:
    call = ToolCall("1", "weather", {"place": {"city": "Oslo"}, "unit": "fahrenheit"})
    result = await call_tool(weather, call)
    assert (result.call_id, result.is_error) == ("1", False)
    assert msgspec.json.decode(str(result.content)) == {
        "city": "Oslo",
        "days": 1,
        "unit": "fahrenheit",
        "kind": None,
    }
    assert (await call_tool(double, ToolCall("2", "double", {"x": 4}))).content == "8"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (ToolCall("1", "double", {"x": -1}), ">= 0"),
        (ToolCall("1", "double", {"x": "many"}), "x"),
        (ToolCall("1", "double", {}), "x"),
        (ToolCall("1", "double", {"x": 1, "y": 2}), "y"),
        (ToolCall("1", "double", raw="{x"), "not JSON"),
    ],
)
async def test_what_the_model_got_wrong_is_a_result_for_it_to_read(call: ToolCall, words: str) -> None:
    result = await call_tool(double, call)
    assert result.is_error
    assert words in str(result.content)


async def test_what_a_tool_raises_is_a_result_too() -> None:
    def breaks(x: int) -> None:
        raise RuntimeError("no power")

    result = await call_tool(breaks, ToolCall("1", "breaks", {"x": 1}))
    assert result.is_error
    assert result.content == "RuntimeError: no power"


def test_what_cannot_be_a_tool() -> None:
    def untyped(x):  # type: ignore[no-untyped-def]
        return x

    def many(*xs: int) -> None: ...

    for function in (untyped, many):
        with pytest.raises(errors.ConfigurationError):
            tool_from(function)


def test_a_strict_schema_is_closed_and_whole_and_stays_so() -> None:
    class Answer(msgspec.Struct):
        places: list[Place]
        note: str | None = None

    schema = strict(msgspec.json.schema(Answer))
    assert schema["type"] == "object"
    assert schema["required"] == ["places", "note"]
    assert schema["$defs"]["Place"]["additionalProperties"] is False
    assert "default" not in schema["properties"]["note"]
    assert strict(schema) == schema
    with pytest.raises(errors.InvalidRequest):
        rooted({"$ref": "#/$defs/Nobody"})


class Node(msgspec.Struct):
    children: list["Node"] = []


def test_a_schema_that_holds_itself_does_not_end_in_a_loop() -> None:
    schema = msgspec.json.schema(Node)
    assert strict(schema)["required"] == ["children"]
    assert inlined(rooted(schema))["type"] == "object"


TOOL = {"name": "weather", "parameters": {"type": "object"}}


def test_tools_by_prompt() -> None:
    request = LLMRequest(
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [ToolCall("1", "weather", {"city": "Oslo"})]},
            {"role": "tool", "tool_call_id": "1", "content": "rain"},
        ],
        tools=[TOOL],
        tool_choice="required",
    )
    plain = with_tools_in_prompt(request)
    assert plain.tools == ()
    assert plain.tool_choice is None
    assert [message.role for message in plain.messages] == ["system", "user", "assistant", "user"]
    assert "You must call" in plain.messages[0].text
    assert plain.messages[2].text == '<tool_call>{"name":"weather","arguments":{"city":"Oslo"}}</tool_call>'
    assert plain.messages[3].text == "<tool_result>rain</tool_result>"


def test_what_went_wrong_with_a_tool_is_told_by_prompt_too() -> None:
    picture = Image(url="https://x.test/map.png")
    request = LLMRequest(
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [ToolCall("1", "weather", raw="{city")]},
            {"role": "tool", "content": [ToolResult("1", (Text("no JSON"), picture), is_error=True)]},
        ],
        tools=[TOOL],
    )
    _, _, asked, result = with_tools_in_prompt(request).messages
    assert asked.text == '<tool_call>{"name":"weather","arguments":"{city"}</tool_call>'
    assert result.parts == (Text("<tool_result>Error: no JSON</tool_result>"), picture)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Just text.", (Text("Just text."),)),
        ('A <tool_call>{"name": "f"}</tool_call>', (Text("A"), ToolCall("call_made_1", "f"))),
        (
            '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\n<tool_call>{"name": "g"}</tool_call>',
            (ToolCall("call_made_1", "f", {"x": 1}), ToolCall("call_made_2", "g")),
        ),
        ('<tool_call>{"name": "f"}', (ToolCall("call_made_1", "f"),)),
        ("<tool_call>what</tool_call>", (Text("<tool_call>what</tool_call>"),)),
        ('<tool_call>{"name": 3}</tool_call>', (Text('<tool_call>{"name": 3}</tool_call>'),)),
        (
            '<tool_call>{"name": "f", "arguments": []}</tool_call>',
            (Text('<tool_call>{"name": "f", "arguments": []}</tool_call>'),),
        ),
    ],
)
def test_calls_are_read_out_of_text(text: str, parts: tuple[object, ...]) -> None:
    reply = calls_from_text(LLMResponse(parts=(Text(text),)))
    assert reply.parts == parts
    assert (reply.finish_reason == "tool_calls") == any(isinstance(part, ToolCall) for part in parts)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    ends = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def joined(parts: Iterable[Text | ToolCall]) -> list[Text | ToolCall]:
    found: list[Text | ToolCall] = []
    for part in parts:
        if found and isinstance(part, Text) and isinstance(found[-1], Text):
            found[-1] = Text(found[-1].text + part.text)
        else:
            found.append(part)
    return found


WRITTEN = st.lists(
    st.sampled_from(
        [
            "hi ",
            " ",
            "\n",
            "<",
            "<tool",
            "<tool_call>",
            "</tool_call>",
            '{"name": "f"}',
            '<tool_call>{"name": "f"}</tool_call>',
            "}",
        ]
    ),
    max_size=12,
)


@given(WRITTEN, st.lists(st.integers(0, 200), max_size=20))
def test_any_split_of_the_text_holds_the_same_calls(written: list[str], cuts: list[int]) -> None:
    text = "".join(written)
    whole, split = CallsInText(), CallsInText()
    expected = joined(whole.feed(text) + whole.finish())
    got = [part for piece in pieces_of(text, cuts) for part in split.feed(piece)]
    assert joined(got + split.finish()) == expected
    assert whole.found == split.found
    if not whole.found:
        assert "".join(part.text for part in expected if isinstance(part, Text)) == text


def test_text_is_given_on_as_soon_as_it_is_no_call() -> None:
    calls = CallsInText()
    assert calls.feed("Let me look") == [Text("Let me look")]
    assert calls.feed(" ") == []
    assert calls.feed("<to") == []
    assert calls.feed("day>") == [Text(" <today>")]
    assert calls.feed(" <tool_call>") == []
    assert calls.feed('{"name": "f"}') == []
    assert calls.feed("</tool_call> Done.") == [ToolCall("call_made_1", "f"), Text(" Done.")]
    assert calls.finish() == []


def test_a_long_call_in_small_pieces_takes_linear_time() -> None:
    calls = CallsInText()
    text = '<tool_call>{"name": "f", "arguments": {"x": "' + "y" * 300_000 + '"}}</tool_call>'
    found = [part for start in range(0, len(text), 3) for part in calls.feed(text[start : start + 3])]
    assert [type(part) for part in found] == [ToolCall]
