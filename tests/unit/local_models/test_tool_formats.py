"""Formats of tool calls: told by the template, read out of an answer however it is cut, held by grammars."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from local_models.llama import Weights
from local_models.openings import Opening
from local_models.options import Generate
from local_models.prompts.templates import ChatTemplate
from local_models.prompts.tool_formats import START, ToolFormat, tool_format
from local_models.prompts.tool_grammar import forced_call_grammar, free_call_grammar
from local_models.prompts.tools import ToolCallParser
from tests.support.local_models.grammars import allows
from tests.support.local_models.reciter import make_reciter
from tests.support.local_models.tool_templates import ALL, PLAIN, Call, written

NAMES = ("weather", "add", "now")
CITY: Call = ("weather", {"city": 'Å "s" {}<', "deep": {"on": True, "list": [1, None, -2.5]}})
SUM: Call = ("add", {"a": 1, "b": -2})
NOW: Call = ("now", {})
FORMS = list(ALL)
RANDOM = random.Random(1)


def tool(name: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
TOOLS = (
    tool("weather", properties={"city": TEXT, "deep": {"type": "object"}}, required=["city"]),
    tool("add", properties={"a": NUMBER, "b": NUMBER, "c": NUMBER}, required=["a", "b"]),
    tool("now"),
)


def read(form: ToolFormat, said: str, *, cut: bool = False, known: Any = NAMES) -> tuple[str, list[Call]]:
    """What is shown of an answer that comes in pieces, and its calls; the same for all ways to cut it."""
    ways = []
    for most in (4, len(said) or 1):
        parser, shown, at = ToolCallParser(known, form), "", 0
        while at < len(said):
            size = RANDOM.randint(1, most)
            shown, at = shown + parser.feed(said[at : at + size]), at + size
        shown += parser.end(cut=cut)
        ways.append((shown, [(call.name, call.parsed) for call in parser.calls]))
        assert all(json.loads(call.arguments) == call.parsed for call in parser.calls)
    assert ways == [ways[0]] * len(ways)
    return ways[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weights]:
    """A vocabulary in which every second mark is a control token, and the others are written by bytes."""
    marks = sorted({mark for template in ALL.values() for mark in tool_format(template).marks})
    path = make_reciter(tmp_path_factory.mktemp("models") / "marks.gguf", ["ok"], control=marks[::2])
    made = Weights(str(path), gpu_layers=0, mmap=True)
    yield made
    made.close()


@pytest.mark.parametrize("name", FORMS)
def test_a_template_tells_its_format_and_calls_are_read_in_it(name: str) -> None:
    form = tool_format(ALL[name])
    assert form.name == name
    for calls in ([CITY], [NOW], [CITY, SUM, NOW]):
        assert read(form, written(name, calls)) == ("", calls)
        assert read(form, written(name, calls, bare=True)) == ("", calls)
    if name != "bare":
        assert read(form, "Let me see.\n" + written(name, [SUM])) == ("Let me see.\n", [SUM])
    unknown = written(name, [("fly", {})])
    assert read(form, unknown) == (unknown, []), "a call of a tool that nobody has is text"


@pytest.mark.parametrize("name", FORMS)
def test_half_a_call_is_never_shown(name: str) -> None:
    form, said = tool_format(ALL[name]), written(name, [CITY, SUM])
    for whole in (said, written(name, [CITY, SUM], bare=True)):
        for length in range(1, len(whole)):
            shown, calls = read(form, whole[:length], cut=True)
            assert shown == ""
            assert calls in ([], [CITY], [CITY, SUM])
    before = "It is 5 < 7, [sic] `so`: "
    for length in range(len(said)):
        shown, _ = read(form, before + said[:length], cut=True)
        if name not in ("bare", "llama") or length == 0:
            assert before.startswith(shown)
            assert len(shown) >= len(before) - 2
    assert read(form, before + "5 < 6")[0] == before + "5 < 6"


@pytest.mark.parametrize("name", FORMS)
def test_other_json_and_other_code_are_text_as_they_come(name: str) -> None:
    form = tool_format(ALL[name])
    for said in ('{"answer": 7}', "[1, 2]", "```python\nprint(1)\n```", '{"name"', "{}", "{", "<tool", "```", "[TOOL"):
        assert read(form, said) == (said, [])
    parser = ToolCallParser(NAMES, form)
    assert parser.feed('{"answer": ') == '{"answer": ', "what cannot become a call waits for nothing"


@pytest.mark.parametrize("name", FORMS)
def test_grammars_hold_names_and_arguments_of_every_format(name: str, weights: Weights) -> None:
    form = tool_format(ALL[name])
    forced = forced_call_grammar(Generate(tools=TOOLS, tool_choice="required"), form)
    one = forced_call_grammar(Generate(tools=TOOLS, tool_choice="add"), form)
    free = free_call_grammar(Generate(tools=TOOLS), form)
    opens = Opening(marks=form.opens, start=START if form.holds_bare else "")
    bare = form.holds_bare
    weather: Call = ("weather", {"city": "Oslo"})
    for calls in ([weather], [SUM], [NOW]):
        assert allows(weights, forced, written(name, calls, bare=bare))
        assert allows(weights, free, written(name, calls), opens)
        assert allows(weights, free, written(name, calls, bare=True), opens)
    assert allows(weights, one, written(name, [SUM], bare=bare))
    assert not allows(weights, one, written(name, [weather], bare=bare))
    if not bare:
        assert allows(weights, forced, written(name, [weather, SUM]))
        assert allows(weights, free, "Well. " + written(name, [weather, SUM]), opens)
    for wrong in ([("fly", {})], [("weather", {})], [("add", {"a": 1, "b": "2"})], [("add", {"a": 1, "x": 2})]):
        assert not allows(weights, forced, written(name, wrong, bare=bare))
        assert not allows(weights, free, written(name, wrong), opens)
    for text in ("I would rather talk.", "", 'Say {"name": "fly"}', "{}"):
        assert not allows(weights, forced, text)
        assert allows(weights, free, text, opens)


@pytest.mark.parametrize("name", FORMS)
def test_a_round_of_calls_is_rendered_by_every_template(name: str) -> None:
    template = ChatTemplate(ALL[name], control=("<|im_end|>",))
    messages = [
        {"role": "user", "content": "What is 1 - 2?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": -2}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_0", "name": "add", "content": "-1"},
    ]
    text = "".join(template.render(messages, TOOLS))
    assert "weather" in text, "every tool is told"
    assert text.index("1 - 2?") < text.index('"b": -2}') < text.rindex("-1")
    parser = ToolCallParser(NAMES, tool_format(ALL[name]))
    if name in ("hermes", "mistral", "llama"):
        assert written(name, [SUM]).strip("]}")[:-1] in text, "a call goes back as the model wrote it"
    assert parser.feed("") == ""


def test_a_template_without_tools_gets_them_told_once() -> None:
    template = ChatTemplate(PLAIN)
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert "".join(template.render(system)) == "system: Be brief.\nuser: Hi\n"
    told = "".join(template.render(system, TOOLS))
    assert told.startswith("system: Be brief.\n\nYou can call")
    assert told.count("weather") == 1
    assert "".join(template.render(system[1:], TOOLS)).endswith("helps.\n\nHi\n")
