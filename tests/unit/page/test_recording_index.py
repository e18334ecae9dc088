"""An index of a recording: places by agent, time and turn, states of agents, and what is cut off or damaged."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.page.recordings import BEGAN, made, message, run, write
from three_mode.agents.recording.events import HEAD, MAGIC, Ended, Got, Made, RecordingEnd, pack, pack_end
from three_mode.errors import ConfigurationError
from three_mode.page.recordings import cells
from three_mode.page.recordings.file import BLOCK, RecordingFile
from three_mode.page.recordings.index import RecordingIndex

RUN = run(3 * BLOCK)  # of three records each: nine blocks, and some records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "run.rec", RUN)


@pytest.fixture
def index(path: Path) -> RecordingIndex:
    return RecordingIndex(RecordingFile(path))


def index_all(index: RecordingIndex) -> None:
    while index.read_on():
        pass


def test_it_has_each_record_at_its_place(index: RecordingIndex) -> None:
    assert index.file.count == len(RUN)
    assert index.file.left_over == 0
    assert [event for _, event in index.events(0, len(RUN) + 5)] == RUN
    assert [index.event(place) for place in (0, BLOCK - 1, BLOCK, len(RUN) - 1)] == [
        RUN[place] for place in (0, BLOCK - 1, BLOCK, len(RUN) - 1)
    ]


def test_an_agents_next_and_previous_message_are_found_before_and_after_all_is_indexed(index: RecordingIndex) -> None:
    own = [place for place, event in enumerate(RUN) if isinstance(event, Got) and event.agent == "scout/1"]
    for _ in range(2):
        middle = own[len(own) // 2]
        assert index.following("scout/1", middle) == own[len(own) // 2 + 1]
        assert index.previous("scout/1", middle) == own[len(own) // 2 - 1]
        assert index.following("scout/1", -1) == own[0]
        assert index.following("scout/1", own[-1]) is None
        assert index.previous("scout/1", own[0]) is None
        assert index.previous("scout/1", len(RUN)) == own[-1]
        assert index.following("nobody/0", -1) is None
        index_all(index)
    assert sorted(index.agents) == ["scout/0", "scout/1", "scout/2"]
    assert index.known == len(RUN)


def test_a_time_leads_to_the_first_record_from_then_on(index: RecordingIndex) -> None:
    for number in (1, 700, 3 * BLOCK - 1):
        event = RUN[index.at_time(BEGAN + number * 0.01)]
        assert isinstance(event, Got)
        assert event.when == BEGAN + number * 0.01
    assert index.at_time(0.0) == 0
    assert index.at_time(9e9) == len(RUN) - 1


def test_the_overview_is_spread_over_the_run(index: RecordingIndex) -> None:
    overview = index.overview(points=4)
    assert overview[0] == (0, BEGAN)
    assert overview[-1] == (len(RUN) - 1, RUN[-1].when)
    assert sorted(overview) == overview
    assert all(RUN[place].when == when for place, when in overview)


def test_a_turn_is_found_by_its_number_and_from_what_is_within_it(index: RecordingIndex) -> None:
    place = index.place_of_turn("scout/2", 500)
    assert place is not None
    assert index.begin_of(place) == index.begin_of(place + 1) == index.begin_of(place + 2) == place
    assert index.place_of_turn("scout/2", 99_999) is None
    assert index.begin_of(0) is None


def test_states_are_what_a_count_of_all_records_says(index: RecordingIndex) -> None:
    assert index.states_at(5 * BLOCK) is None  # not indexed up to there
    index_all(index)
    for place in (0, 3, 4, BLOCK, 3 * BLOCK + 5, len(RUN)):
        states = index.states_at(place)
        assert states is not None
        before = RUN[:place]
        for name, had, busy in zip(states.names, states.had, states.busy, strict=True):
            own = [event for event in before if event.agent == name]
            assert had == sum(isinstance(event, Got) for event in own)
            assert busy == had - sum(isinstance(event, Ended) for event in own)
        assert set(states.names) == {event.agent for event in before if isinstance(event, Made)}


def test_states_over_more_blocks_than_between_two_kept_tallies(tmp_path: Path) -> None:
    events = [made("scout/0")] + [event for turn in range(1, 24_000) for event in message("scout/0", turn, turn / 1e3)]
    index = RecordingIndex(RecordingFile(write(tmp_path / "long.rec", events)))
    index_all(index)
    place = 66 * BLOCK + 7
    states = index.states_at(place)
    assert states is not None
    assert states.had == [sum(isinstance(event, Got) for event in events[:place])]
    assert states.made == [1]


def test_what_a_crashed_host_was_at_is_over_when_the_agent_is_made_again(tmp_path: Path) -> None:
    got = message("scout/0", 1, 0.0)[:1]
    index = RecordingIndex(RecordingFile(write(tmp_path / "x.rec", [made("scout/0"), *got, made("scout/0")])))
    index_all(index)
    for place, busy, times in ((2, [1], [1]), (3, [0], [2])):
        states = index.states_at(place)
        assert states is not None
        assert (states.busy, states.made) == (busy, times)


def test_one_that_is_cut_off_is_shown_as_far_as_it_goes(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 3)
    file = RecordingFile(path)
    assert file.count == len(RUN) - 1
    assert file.left_over > 0
    assert file.damage == ""


def test_one_that_grows_goes_on(tmp_path: Path) -> None:
    path = write(tmp_path / "x.rec", RUN[: BLOCK + 10])
    index = RecordingIndex(RecordingFile(path))
    index_all(index)
    assert not index.grow()
    with path.open("ab") as out:
        out.write(b"".join(pack(event) for event in RUN[BLOCK + 10 :]))
    assert index.grow()
    index_all(index)
    assert [event for _, event in index.events(0, len(RUN))] == RUN
    states = index.states_at(len(RUN))
    assert states is not None
    assert sum(states.had) == 3 * BLOCK
    assert index.previous("scout/2", len(RUN)) == len(RUN) - 3


def test_a_length_that_cannot_be_ends_it_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "x.rec", RUN[:5])
    with path.open("ab") as out:
        out.write(b"\xff" * 64)
    file = RecordingFile(path)
    assert file.count == 5
    assert "cannot be" in file.damage


def test_a_record_that_cannot_be_read_is_one_place_and_no_more(tmp_path: Path) -> None:
    path = write(tmp_path / "x.rec", RUN[:5])
    with path.open("ab") as out:
        out.write(b"\x03\0\0\0\xc1\xc1\xc1" + b"".join(pack(event) for event in RUN[5:20]))
    index = RecordingIndex(RecordingFile(path))
    index_all(index)
    shown = [event for _, event in index.events(0, 100)]
    assert shown[:5] + shown[6:] == RUN[:20]
    assert isinstance(shown[5], str)
    assert "cannot be read" in shown[5]
    assert index.at_time(0.0) == 0
    assert index.previous("scout/0", 100) is not None
    with pytest.raises(ValueError, match="cannot be read"):
        index.event(5)


def test_its_end_says_why_and_nothing_behind_it_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "x.rec", RUN[:10])
    at = len(HEAD) + sum(len(pack(event)) for event in RUN[:6])
    with path.open("r+b") as out:
        out.seek(len(MAGIC))
        out.write(pack_end(RecordingEnd(BEGAN, at, "no space left")))
    file = RecordingFile(path)
    assert file.count == 6
    assert file.read_end() == "no space left"


def test_a_file_that_becomes_shorter_is_an_error_and_no_crash(path: Path) -> None:
    index = RecordingIndex(RecordingFile(path))
    os.truncate(path, 5000)
    with pytest.raises(ValueError, match="shorter"):
        index.event(len(RUN) - 1)
    with pytest.raises(ValueError, match="shorter"):
        index_all(index)


def test_a_record_longer_than_what_is_read_at_once_is_found(tmp_path: Path) -> None:
    long = Got("scout/0", BEGAN, 1, "score", bytes(9 << 20), False, False, "cli/1")
    events = [made("scout/0"), long, long, long, *message("scout/0", 2, 1.0)]
    index = RecordingIndex(RecordingFile(write(tmp_path / "x.rec", events)))
    index_all(index)
    assert index.file.count == len(events)
    assert index.event(2) == long
    assert index.following("scout/0", 3) == 4
    assert [event for _, event in index.events(3, 9)] == events[3:]


@pytest.mark.parametrize("content", [b"", b"hello", b"three-mode recording 2\n"])
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"no recording"):
        RecordingFile(path)
    with pytest.raises(ConfigurationError, match="cannot be shown"):
        RecordingFile(tmp_path / "missing")


def test_one_without_records_is_empty(tmp_path: Path) -> None:
    index = RecordingIndex(RecordingFile(write(tmp_path / "x.rec", [])))
    assert not index.read_on()
    assert (index.overview(), index.agents, list(index.events(0, 10))) == ([], [], [])
    assert index.following("scout/0", -1) is index.previous("scout/0", 10) is None


@given(st.lists(st.integers(0, 2**12), max_size=60), st.integers(0, 2**12), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_cells_are_found_where_they_are(column: list[int], wanted: int, at: int) -> None:
    column = [each << 5 | each % 3 for each in column]  # bytes of neighbours that look alike
    data = b"".join(each.to_bytes(4, "little") for each in column)
    cell = wanted.to_bytes(4, "little")
    there = [place for place, each in enumerate(column) if each == wanted]
    assert cells.find(data, cell, at) == next((place for place in there if place >= at), -1)
    assert cells.find_back(data, cell, at) == next((place for place in reversed(there) if place < at), -1)
    assert list(cells.places(data, cell)) == there
