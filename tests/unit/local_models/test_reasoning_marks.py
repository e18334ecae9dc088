"""Reasoning split off however an answer is cut, and the places where a grammar begins."""

import random
from typing import Any

import pytest

from local_models.openings import Opening, OpeningWatch
from local_models.prompts.reasoning import MARKS, ReasoningSplitter, begins_inside, reasoning_marks

THINK = MARKS[0]
RANDOM = random.Random(3)


def split(said: str, *, inside: bool = False, cut: bool = False) -> tuple[str, str]:
    """Reasoning and answer; the same for all ways to cut the text."""
    ways = set()
    for _ in range(40):
        splitter, thought, text, at = ReasoningSplitter(THINK), "", "", 0
        splitter.inside = inside
        while at < len(said):
            size = RANDOM.randint(1, 6)
            more, shown = splitter.feed(said[at : at + size])
            thought, text, at = thought + more, text + shown, at + size
        more, shown = splitter.end(cut=cut)
        ways.add((thought + more, text + shown))
    (way,) = ways
    return way


@pytest.mark.parametrize(
    ("said", "how", "expected"),
    [
        ("<think>\nhm  hm \n</think>\n\nHello <think>", {}, ("hm  hm", "Hello <think>")),
        ("hm\n</think>\n\nHi ", {"inside": True}, ("hm", "Hi ")),
        ("<think>\n\n</think>\n\nHi", {}, ("", "Hi")),
        ("Hello </think>", {}, ("", "Hello </think>")),
        (" plain \n", {}, ("", " plain \n")),
        ("<think>hm ...</thi", {"cut": True}, ("hm ...", "")),
        ("<think>hm ...</thi", {}, ("hm ...</thi", "")),
        ("  <thi", {"cut": True}, ("", "")),
        ("  <thi", {}, ("", "  <thi")),
        ("never ends \n", {"inside": True, "cut": True}, ("never ends", "")),
        ("", {"inside": True}, ("", "")),
    ],
)
def test_reasoning_and_answer_are_apart(said: str, how: dict[str, Any], expected: tuple[str, str]) -> None:
    assert split(said, **how) == expected


def test_a_template_tells_the_marks_and_whether_it_begins() -> None:
    assert reasoning_marks("{{ '<think>' }}") == THINK
    assert reasoning_marks("{% if '[/THINK]' in x %}") == MARKS[1]
    assert reasoning_marks("{{ messages }}") is None
    assert begins_inside(THINK, ["user: <", "think>\nhi\n", "assistant: <think>\n"])
    assert not begins_inside(THINK, ["assistant: <think>\n\n</think>\n\n"])


def place(said: str, **opening: Any) -> str | None:
    """What follows the place where the grammar begins, however the text is cut; None: there is none."""
    ways: set[str | None] = set()
    for size in range(1, 9):
        watch, way = OpeningWatch(Opening(**opening)), None
        for at in range(0, len(said), size):
            rest = watch.feed(said[at : at + size].encode())
            if rest is not None:
                way = rest.decode() + said[at + size :]
                break
        ways.add(way)
    (only,) = ways
    return only


@pytest.mark.parametrize(
    ("said", "opening", "rest"),
    [
        ("Well: <call>{}", {}, "{}"),
        ("<cal", {}, None),
        ("<think>a <call> b</think> c <call>d", {"thinks": THINK}, "d"),
        ("a <call> b</think> <call>d", {"thinks": THINK, "inside": True}, "d"),
        ("a <call> b", {"thinks": THINK, "inside": True}, None),
        (' {"name" :"x"', {"start": r'\{\s*"name"\s*:'}, '"x"'),
        ('Say {"name":"x"', {"start": r'\{\s*"name"\s*:'}, None),
        ('<think>{"name":</think>\n{"name":"x"', {"start": r'\{\s*"name"\s*:', "thinks": THINK}, '"x"'),
        ('{"answer": "<call>x', {"start": r'\{\s*"name"\s*:'}, "x"),
        ("größe <call>ä", {}, "ä"),
    ],
)
def test_a_grammar_begins_behind_its_mark_and_not_in_a_thought(
    said: str, opening: dict[str, Any], rest: str | None
) -> None:
    assert place(said, marks=("<call>",), **opening) == rest
