"""What was recorded, as the page shows it: plain data within bounds, and turns with what was got, done and answered."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.page.recordings import BEGAN, made, message, write
from three_mode.agents.handlers.codec import encode, encode_exact
from three_mode.agents.recording.events import Did, Ended, Event, Got
from three_mode.page.recordings.content import LONGEST_CONTENT, MOST_ENTRIES, brief, plain
from three_mode.page.recordings.file import RecordingFile
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.shown import line_of, step_of
from three_mode.page.recordings.turns import MOST_STEPS, turn_at


def test_plain_data_is_shown_as_it_is() -> None:
    value = {"a": [1, 2.5, None, True, "text"], "b": {"c": []}}
    assert plain(encode(value)) == value


def test_bytes_are_told_as_such() -> None:
    assert plain(encode(b"\x00\xff" * 40)) == {"bytes": 80, "begin": " ".join(["00 ff"] * 16)}
    assert plain(b"\xc1 is no msgpack") == {"bytes": 15, "begin": b"\xc1 is no msgpack".hex(" ")}


def test_what_is_much_is_cut_and_says_so() -> None:
    assert plain(encode("x" * 5000)).endswith("(3000 more characters)")
    shown = plain(encode(list(range(1000))))
    assert len(shown) == MOST_ENTRIES + 1
    assert shown[-1] == f"… ({1000 - MOST_ENTRIES} more)"
    assert len(plain(encode({str(key): key for key in range(1000)}))) == MOST_ENTRIES + 1
    assert plain(encode(bytes(LONGEST_CONTENT)))["bytes"] > LONGEST_CONTENT
    many: Any = [[[0] * 90] * 90] * 90
    assert len(json.dumps(plain(encode(many)))) < 50_000


def test_deep_and_odd_values_are_what_json_can_say() -> None:
    deep: Any = []
    for _ in range(60):
        deep = [deep]
    for value in (deep, float("nan"), float("inf"), 2**63, {1: 2, None: 3}):
        json.loads(msgspec.json.encode(plain(encode(value))))
    assert plain(encode(2**63)) == str(2**63)


def test_values_of_python_are_told_by_the_name_of_their_kind() -> None:
    assert plain(encode_exact((1, 2))) == {"tuple": [1, 2]}
    (content,) = plain(encode_exact([date(2026, 1, 2)]))
    assert list(content) == ["date"]


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_can_be_shown(data: bytes) -> None:
    json.loads(msgspec.json.encode(plain(data)))
    assert len(brief(plain(data))) < 220


def test_lines_say_who_what_and_with_whom() -> None:
    got, did, ended = message("scout/0", 1, 0.0)
    assert [
        (line.what, line.kind, line.peer, line.text) for line in (line_of(1, got), line_of(2, did), line_of(3, ended))
    ] == [
        ("got", "score", "cli/1", '["hello"]'),
        ("did", "ask quote", "market/0", '["hello"]'),
        ("ended", "result", "", '{"score":1}'),
    ]
    assert step_of(2, did).result == 2.5
    assert line_of(0, made("scout/0")).kind == "program.Scout"
    assert line_of(7, "the record cannot be read").what == "unreadable"


@pytest.mark.parametrize(
    ("kind", "what", "peer", "shown"),
    [
        ("group", b"market", "market", "group"),
        ("settled", b"news.eu", "news.eu", "settled"),
        ("now", b"", "", "now"),
        ("broadcast", encode(["news.eu", "", encode(1)]), "news.eu", "broadcast"),
        ("gather", encode(["market/0 market/1", "quote", encode([])]), "market/0 market/1", "gather quote"),
        ("llm", encode({"model": "tiny"}), "", "llm"),
    ],
)
def test_effects_say_whom_they_went_to(kind: str, what: bytes, peer: str, shown: str) -> None:
    line = line_of(0, Did("scout/0", BEGAN, 1, kind, what, b"", True))
    assert (line.peer, line.kind) == (peer, shown)


def index_of(tmp_path: Path, events: list[Event]) -> RecordingIndex:
    return RecordingIndex(RecordingFile(write(tmp_path / "x.rec", events)))


def test_turns_that_overlap_are_kept_apart(tmp_path: Path) -> None:
    one, two, three = message("scout/0", 1, 0.0), message("scout/0", 2, 0.0), message("scout/1", 1, 0.0)
    index = index_of(tmp_path, [one[0], two[0], three[0], two[1], one[1], three[1], three[2], two[2], one[2]])
    for place, places in ((0, [0, 4, 8]), (4, [0, 4, 8]), (8, [0, 4, 8]), (1, [1, 3, 7]), (6, [2, 5, 6])):
        turn = turn_at(index, place)
        assert turn.got is not None
        assert turn.ended is not None
        assert [turn.got.place, *[step.place for step in turn.steps], turn.ended.place] == places


def test_what_an_agent_does_while_it_is_made_is_a_turn_without_a_message(tmp_path: Path) -> None:
    now = Did("scout/0", BEGAN, 0, "now", b"", encode(1.0), True)
    index = index_of(tmp_path, [made("scout/0"), now, *message("scout/0", 1, 1.0), now])
    turn = turn_at(index, 0)
    assert turn.got is turn.ended is None
    assert [step.what for step in turn.steps] == ["made", "did"]
    assert [step.place for step in turn_at(index, 1).steps] == [1]


def test_one_that_never_ended_and_one_with_many_parts(tmp_path: Path) -> None:
    got = Got("scout/0", BEGAN, 1, "count", encode([]), False, True, "cli/1")
    parts = [Ended("scout/0", BEGAN + number, 1, "part", encode(number)) for number in range(MOST_STEPS + 50)]
    index = index_of(tmp_path, [got, *parts])
    turn = turn_at(index, 3)
    assert turn.ended is None
    assert len(turn.steps) == MOST_STEPS
    assert turn.more == 50


def test_a_turn_is_shown_before_the_rest_is_indexed(tmp_path: Path) -> None:
    events = [made("quiet/0")] + [event for turn in range(1, 20_000) for event in message("scout/0", turn, turn / 1e3)]
    index = index_of(tmp_path, events)
    assert [step.what for step in turn_at(index, 0).steps] == ["made"]
    decoded = sum(cells is not None for cells in index._cells)
    assert decoded < index.file.blocks / 2
