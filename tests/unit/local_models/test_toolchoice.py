"""A forced tool call: the grammar leaves nothing else to say, in the spelling that the model's template reads."""

import json
from typing import Any

import pytest

from local_models.errors import BadOption
from local_models.files.catalogue import TINY
from local_models.llama import Weights
from local_models.openings import Opening
from local_models.options import Generate
from local_models.prompts.tool_formats import BARE, BARE_PARAMETERS, HERMES, ToolFormat
from local_models.prompts.tool_grammar import forced_call_grammar, free_call_grammar
from local_models.prompts.tools import ToolCallParser, offered_tools
from tests.support.local_models.grammars import allows


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TREE = {"$defs": {"t": {"type": "object", "properties": {"t": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
TOOLS = (
    tool("weather", type="object", properties={"city": {"type": "string"}}, required=["city"]),
    tool("add", properties={"a": {"type": "integer"}, "b": {"type": "integer"}}, required=["a", "b"]),
    tool("tree", **TREE),
    tool("strange", properties={"a": {"type": "string", "pattern": "(?<=x)y"}}),
    tool("plain", properties={"a": {"type": "string", "pattern": "x+"}, "b": {"type": "integer", "maximum": 12}}),
    tool("now"),
)


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights(str(TINY), gpu_layers=0, mmap=True)


def call(name: str, **arguments: Any) -> str:
    return json.dumps({"name": name, "arguments": arguments})


def in_marks(*calls: str) -> str:
    return "".join(f"<tool_call>{each}</tool_call>" for each in calls)


CITY, SUM = call("weather", city="Oslo"), call("add", a=1, b=-2)


@pytest.mark.parametrize(
    ("choice", "said", "allowed"),
    [
        ("required", in_marks(CITY), True),
        ("required", "<tool_call>\n" + SUM + "\n</tool_call>", True),
        ("required", in_marks(CITY, SUM), True),
        ("required", in_marks(call("tree", t={"t": {}})), True),
        ("required", in_marks(call("strange", a="anything")), True),
        ("required", in_marks(call("strange", a=3)), False),
        ("required", in_marks(call("plain", a="mixed")), True),
        ("required", in_marks(call("plain", a="anything")), False),
        ("required", in_marks(call("plain", b=13)), False),
        ("required", in_marks(call("now")), True),
        ("required", "I would rather talk.", False),
        ("required", "", False),
        ("required", in_marks(call("unknown")), False),
        ("required", in_marks(call("weather")), False),
        ("required", in_marks(call("add", a=1, b="2")), False),
        ("required", in_marks(CITY) + "and so on", False),
        ("required", CITY, False),
        ("add", in_marks(SUM), True),
        ("add", in_marks(CITY), False),
        ("add", in_marks(SUM, SUM), False),
    ],
)
def test_a_marked_call_and_nothing_else(weights: Weights, choice: str, said: str, allowed: bool) -> None:
    grammar = forced_call_grammar(Generate(tools=TOOLS, tool_choice=choice), HERMES)
    assert allows(weights, grammar, said) is allowed
    if allowed:
        talk = ToolCallParser([tool["function"]["name"] for tool in TOOLS])
        assert (talk.feed(said) + talk.end()).strip() == ""
        assert talk.calls


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("", True),
        ("I would rather talk, about <tool> and {}.", True),
        (in_marks(CITY), True),
        ("Let me see. " + in_marks(CITY, SUM), True),
        ("<tool_call>\n" + CITY + "\n</tool_call>\n<tool_call>" + SUM + "</tool_call>", True),
        (in_marks(call("unknown")), False),
        (in_marks(call("weather")), False),
        ("Well. " + in_marks(call("add", a=1, b="2")), False),
        (in_marks(CITY) + " and so on", False),
        ("<tool_call>I would rather talk.", False),
    ],
)
def test_a_free_answer_is_held_to_the_tools_from_its_first_mark_on(weights: Weights, said: str, allowed: bool) -> None:
    grammar = free_call_grammar(Generate(tools=TOOLS), HERMES)
    assert allows(weights, grammar, said, Opening(marks=("<tool_call>",))) is allowed


@pytest.mark.parametrize(("form", "key"), [(BARE_PARAMETERS, "parameters"), (BARE, "arguments")])
def test_a_format_without_marks_gets_a_bare_call(weights: Weights, form: ToolFormat, key: str) -> None:
    grammar = forced_call_grammar(Generate(tools=TOOLS, tool_choice="required"), form)
    said = json.dumps({"name": "add", key: {"a": 1, "b": 2}})
    assert allows(weights, grammar, said)
    assert not allows(weights, grammar, in_marks(said))
    talk = ToolCallParser(["add"])
    assert talk.feed(said) + talk.end() == ""
    assert talk.calls[0].parsed == {"a": 1, "b": 2}


def test_what_a_model_is_shown() -> None:
    def shown(choice: str) -> int:
        return len(offered_tools(Generate(tools=TOOLS, tool_choice=choice)))

    assert [shown(choice) for choice in ("auto", "required", "none", "add")] == [6, 6, 0, 1]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "add"}, "tool_choice"),
        ({"tool_choice": "fly", "tools": TOOLS}, "tool_choice"),
        ({"tool_choice": "add", "tools": TOOLS, "grammar": 'root ::= "a"'}, "grammar"),
    ],
)
def test_a_choice_that_cannot_be_is_an_error(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadOption) as caught:
        Generate(**fields)
    assert caught.value.field == field
