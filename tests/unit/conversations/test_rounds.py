"""Rounds in the log: whatever rows a crash leaves, no call is without its results and none has them twice."""

from hypothesis import given
from hypothesis import strategies as st

from three_mode.conversations.entries import Answered, Body, Cut, EntryKind, LogEntry, Round, Said, encode_body
from three_mode.conversations.log import TalkLog, TurnRecord
from three_mode.conversations.rounds import UNKNOWN, calls_of, ending, gone_on, is_waiting, unknown_results, whole
from three_mode.messages import Message, Text, ToolCall, ToolResult

SAID = Message("user", "Look!")


def call(*ids: str, text: str = "") -> Message:
    parts = tuple(ToolCall(each, "look", {"at": each}) for each in ids)
    return Message("assistant", (Text(text), *parts) if text else parts)


def results(*ids: str) -> Message:
    return Message("tool", tuple(ToolResult(each, "seen") for each in ids))


def record(*bodies: Body) -> TurnRecord:
    log = TalkLog()
    kinds = {Said: EntryKind.SAID, Round: EntryKind.ROUND, Answered: EntryKind.ANSWERED, Cut: EntryKind.CUT}
    rows = [Said((SAID,)), *bodies]
    log.apply(LogEntry(n, kinds[type(body)], 1, 0, 0, encode_body(body)) for n, body in enumerate(rows, 1))
    return log.records[1]


def test_a_turn_is_its_rounds_and_its_answer() -> None:
    done = record(Round((call("a"),)), Round((results("a"),)), Answered((Message("assistant", "a boat"),)))
    assert done.messages == (SAID, call("a"), results("a"), Message("assistant", "a boat"))
    assert done.rows == [1, 2, 3, 4]
    assert done.end_row == 4


def test_a_call_whose_ids_the_run_changed_takes_the_place_of_the_one_before() -> None:
    done = record(Round((call("a"),)), Round((call("a_2"), results("a_2"))), Answered(()))
    assert done.messages == (SAID, call("a_2"), results("a_2"))


def test_an_open_turn_shows_whole_rounds_alone() -> None:
    opened = record(Round((call("a"),)), Round((results("a"),)), Round((call("b"),)))
    assert opened.messages == (SAID, call("a"), results("a"))
    assert opened.live
    assert not opened.over
    (unknown,) = unknown_results(opened.rounds)
    assert [part.content for part in unknown.parts if isinstance(part, ToolResult)] == [UNKNOWN]


def test_a_turn_that_was_cut_stays_where_tools_have_run() -> None:
    kept = (call("a"),)
    cut = record(Round(kept), Round(ending(kept, "crash")), Cut("crash", stays=True))
    assert cut.live
    assert cut.over
    assert [message.role for message in cut.messages] == ["user", "assistant", "tool", "assistant"]
    assert not record(Cut("crash")).live


def test_results_that_come_twice_are_taken_once() -> None:
    again = record(Round((call("a"),)), Round((results("a"),)), Round(ending((call("a"),), "cancelled")))
    assert [message.role for message in again.answer] == ["assistant", "tool", "assistant"]
    assert again.answer[1] == results("a"), "those that are known"


IDS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)


@given(st.lists(IDS, max_size=5), st.integers(0, 12), st.booleans(), st.booleans())
def test_wherever_the_process_was_killed_pairs_are_whole(
    rounds: list[list[str]], rows: int, renamed: bool, resumed: bool
) -> None:
    """A process writes a call, its results, a call... and is killed after some rows."""
    written: list[Round] = []
    for number, ids in enumerate(rounds):
        own = [f"{each}_{number}" for each in ids]
        written.append(Round((call(*(ids if renamed else own)),)))
        written.append(Round((call(*own), results(*own)) if renamed else (results(*own),)))
    left = record(*written[:rows])
    kept = left.rounds
    assert is_waiting(kept) == (rows % 2 == 1 and rows <= len(written))
    after = gone_on(kept, unknown_results(kept) if resumed else ending(kept, "crash"))
    asked: list[str] = []
    for message in after:
        for part in message.parts:
            if isinstance(part, ToolCall):
                asked.append(part.id)
            elif isinstance(part, ToolResult):
                asked.remove(part.call_id)
    assert not asked
    assert whole(kept) == tuple(message for message in kept if message.role == "tool" or message is not kept[-1])
    assert all(calls_of(message) == () for message in after if message.role == "tool")
