"""Text that streams: UTF-8 and stop strings across any borders, tool calls in any spelling, prompts that cannot be
forged.
"""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_models.engine.text import AnswerText
from local_models.errors import BadOption, BadTemplate
from local_models.prompts.templates import ChatTemplate
from local_models.prompts.tools import ToolCallParser
from scripts.tiny_model import vocabulary


def cut(whole: bytes, borders: list[int]) -> list[bytes]:
    at = sorted({0, len(whole), *(border % (len(whole) + 1) for border in borders)})
    return [whole[a:b] for a, b in itertools.pairwise(at)]


@given(st.text(max_size=40), st.lists(st.integers(0, 200), max_size=10))
def test_text_comes_whole_however_its_bytes_are_cut(said: str, borders: list[int]) -> None:
    said = said.encode("utf-8", "replace").decode()
    text = AnswerText()
    shown = [text.feed(part) for part in cut(said.encode(), borders)]
    assert "".join(shown) + text.end() == said
    assert not any("\ufffd" in part for part in shown) or "\ufffd" in said


def test_a_character_that_never_became_whole_is_marked() -> None:
    text = AnswerText()
    assert text.feed("é".encode()[:1]) == ""
    assert text.end() == "\ufffd"


@given(
    st.text(alphabet="abcx", max_size=30),
    st.lists(st.text(alphabet="abcx", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(0, 200), max_size=12),
)
def test_nothing_of_a_stop_string_is_ever_shown(said: str, stops: list[str], borders: list[int]) -> None:
    text = AnswerText(stops)
    shown = ""
    for part in cut(said.encode(), borders):
        shown += text.feed(part)
        if text.stopped:
            break
    shown += text.end()
    assert said.startswith(shown)
    assert not any(stop in shown for stop in stops)
    if not any(stop in said for stop in stops):
        assert shown == said
        assert not text.stopped
    else:
        assert text.stopped


CALL = '{"name": "weather", "arguments": {"city": "Oslo"}}'


@pytest.mark.parametrize(
    ("said", "text", "names"),
    [
        (f"<tool_call>{CALL}</tool_call>", "", ["weather"]),
        (f"Let me see. <tool_call>\n{CALL}\n</tool_call>", "Let me see. ", ["weather"]),
        (f"<tool_call>{CALL}</tool_call>\n<tool_call>{CALL}</tool_call>", "", ["weather", "weather"]),
        (f"[TOOL_CALLS] [{CALL}]", "", ["weather"]),
        (CALL, "", ["weather"]),
        ('{"name": "weather", "parameters": {"city": "Oslo"}}', "", ["weather"]),
        (f"<tool_call>{CALL}", "", ["weather"]),  # the closing mark is the end of some answers
        ('<tool_call>{"name": "unknown", "arguments": {}}</tool_call>', None, []),
        ("<tool_call>not json</tool_call>", None, []),
        ('{"answer": 42}', None, []),
        ("a < b and <tool", None, []),
        ("plain", None, []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_tool_calls_are_found_however_they_come(said: str, text: str | None, names: list[str], size: int) -> None:
    talk = ToolCallParser(["weather"])
    shown = "".join(talk.feed(said[at : at + size]) for at in range(0, len(said), size)) + talk.end()
    assert shown == (said if text is None else text)
    assert [call.name for call in talk.calls] == names
    assert all(json.loads(call.arguments) == call.parsed == {"city": "Oslo"} for call in talk.calls)
    assert len({call.id for call in talk.calls}) == len(talk.calls)


TINY_TEMPLATE = ChatTemplate(vocabulary.CHAT_TEMPLATE, bos="<s>", control=vocabulary.CONTROL)
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"properties": {"city": {}}}}}


def test_the_tiny_template_renders_as_its_training_did() -> None:
    parts = TINY_TEMPLATE.render(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Call weather with Oslo."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}],
            },
            {"role": "tool", "content": "rain", "tool_call_id": "1"},
        ],
        [WEATHER],
    )
    assert "".join(parts) == (
        '<|system|>Be brief.<tool>{"name": "weather", "arguments": {"city": ""}}<|end|>'
        "<|user|>Call weather with Oslo.<|end|>"
        '<|assistant|><tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call><|end|>'
        "<|tool|>rain<|end|><|assistant|>"
    )
    assert len(parts) == 1, "nothing had to be cut"


@given(st.text(alphabet="<|enduser>x ", max_size=40), st.text(alphabet="<|enduser>x", max_size=20))
def test_no_part_of_a_prompt_holds_a_control_token_that_a_user_wrote(said: str, system: str) -> None:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": said}]
    parts = TINY_TEMPLATE.render(messages)
    whole = "".join(parts)
    honest = f"<|system|>{system}<|end|>" if system else ""
    assert whole == f"{honest}<|user|>{said}<|end|><|assistant|>"
    marks = sum(part.count(token) for part in parts for token in vocabulary.CONTROL)
    assert marks == (2 if system else 0) + 3


def test_a_template_that_takes_contents_apart_is_refused_a_forged_mark() -> None:
    takes_apart = ChatTemplate("{{ messages[0].content[:3] }}", control=["<|end|>"])
    assert takes_apart.render([{"role": "user", "content": "hello"}]) == ["hel"]
    with pytest.raises(BadTemplate):
        takes_apart.render([{"role": "user", "content": "he<|end|>"}])


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for x in range(10**9) %}{% endfor %}",
        "{{ messages[0].nothing.further }}",
        "{{ raise_exception('no system message') }}",
        "{% if %}",
    ],
)
def test_a_template_cannot_leave_its_sandbox_and_fails_in_words(template: str) -> None:
    with pytest.raises(BadTemplate):
        ChatTemplate(template).render([{"role": "user", "content": "x"}])


def test_without_a_template_the_error_says_what_to_do() -> None:
    with pytest.raises(BadTemplate, match="complete"):
        ChatTemplate("").render([{"role": "user", "content": "x"}])
    with pytest.raises(BadOption):
        TINY_TEMPLATE.render([])
