"""Requests of a recording as trees: each message is below the turn that sent it, and models below those who asked."""

from pathlib import Path

from tests.support.page.recordings import BEGAN, made, write
from three_mode import LLMRequest, LLMResponse, Usage
from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import Did, Ended, Event, Got
from three_mode.messages import Finish, TextDelta, to_msgpack
from three_mode.messages.chunks import UsageUpdate
from three_mode.page.recordings.file import RecordingFile
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.requests import request_at
from three_mode.page.spans import RequestTree


def got(agent: str, turn: int, at: float, sender: str, text: str = "tea", heard: bool = False) -> Got:
    call = encode(text) if heard else encode([text])
    return Got(agent, BEGAN + at, turn, "quote", call, heard, False, sender)


def called(agent: str, turn: int, at: float, kind: str, to: str, text: str = "tea") -> Did:
    arguments = encode(text) if kind == "broadcast" else encode([text])
    what = encode([to, "" if kind == "broadcast" else "quote", arguments])
    return Did(agent, BEGAN + at, turn, kind, what, encode(1), True)


def ended(agent: str, turn: int, at: float, outcome: str = "result") -> Ended:
    return Ended(agent, BEGAN + at, turn, outcome, encode(1))


def tree(tmp_path: Path, events: list[Event], place: int) -> RequestTree:
    path = write(tmp_path / "x.rec", events)
    return request_at(RecordingIndex(RecordingFile(path)), place)


def shape(found: RequestTree) -> list[tuple[str, str | None]]:
    return [(span.name, None if span.parent is None else found.spans[span.parent].name) for span in found.spans]


def test_asks_gathers_tells_and_broadcasts_are_below_who_sent_them(tmp_path: Path) -> None:
    events: list[Event] = [
        made("trader/0"),
        got("trader/0", 1, 0.0, "orchestrator"),
        got("market/0", 1, 0.1, "trader/0"),
        ended("market/0", 1, 0.2),
        called("trader/0", 1, 0.3, "ask", "market/0"),
        got("market/1", 1, 0.4, "trader/0"),
        got("market/0", 2, 0.4, "trader/0"),
        got("stranger/0", 1, 0.4, "somebody/0"),
        ended("market/1", 1, 0.5),
        ended("market/0", 2, 0.5),
        called("trader/0", 1, 0.6, "gather", "market/0 market/1"),
        called("trader/0", 1, 0.7, "tell", "clerk/0"),
        called("trader/0", 1, 0.8, "broadcast", "deals.done", "sold"),
        ended("trader/0", 1, 0.9),
        got("clerk/0", 1, 1.0, "trader/0"),
        got("ear/0", 1, 1.0, "trader/0", "sold", heard=True),
        got("ear/1", 1, 1.0, "trader/0", "bought", heard=True),
        called("clerk/0", 1, 1.1, "ask", "any:market"),
        ended("clerk/0", 1, 1.2),
    ]
    found = tree(tmp_path, events, 1)
    assert shape(found) == [
        ("trader/0", None),
        ("market/0", "trader/0"),
        ("market/1", "trader/0"),
        ("market/0", "trader/0"),
        ("clerk/0", "trader/0"),
        ("ear/0", "trader/0"),
    ]
    assert found.spans[5].open
    assert not found.spans[4].open
    for place in (2, 3, 4, 9, 18):
        assert tree(tmp_path, events, place) == found


def test_of_two_turns_at_once_the_one_that_recorded_the_call_is_the_sender(tmp_path: Path) -> None:
    events: list[Event] = [
        got("trader/0", 1, 0.0, "cli/1"),
        got("trader/0", 2, 0.0, "cli/1"),
        got("market/0", 1, 0.1, "trader/0", "coffee"),
        ended("market/0", 1, 0.2),
        called("trader/0", 2, 0.3, "ask", "market/0", "coffee"),
        ended("trader/0", 1, 0.4),
        ended("trader/0", 2, 0.4),
    ]
    assert shape(tree(tmp_path, events, 0)) == [("trader/0", None)]
    assert shape(tree(tmp_path, events, 2)) == [("trader/0", None), ("market/0", "trader/0")]
    assert tree(tmp_path, events, 2).spans[0].place == 1


def test_calls_to_models_have_their_tokens_and_cost_and_the_provider_that_answered(tmp_path: Path) -> None:
    asked = to_msgpack(LLMRequest(model="big", messages=[{"role": "user", "content": "?"}]))
    usage = Usage(input_tokens=20, output_tokens=10, cost="0.25")
    reply = to_msgpack(LLMResponse(model="big-1", provider="acme", usage=usage, latency=0.5))
    parts = [to_msgpack(part) for part in (TextDelta("a"), UsageUpdate(Usage(3, 4)), Finish())]
    events: list[Event] = [
        got("thinker/0", 1, 0.0, "cli/1"),
        Did("thinker/0", BEGAN + 1.0, 1, "llm", asked, reply, True),
        Did("thinker/0", BEGAN + 1.5, 1, "llm", asked, b"", True),
        *[Did("thinker/0", BEGAN + 1.6, 1, "part", asked, part, True) for part in parts],
        Did("thinker/0", BEGAN + 2.0, 1, "end", asked, b"", True),
        ended("thinker/0", 1, 2.5, "error"),
    ]
    found = tree(tmp_path, events, 0)
    assert shape(found) == [("thinker/0", None), ("big-1", "thinker/0"), ("acme", "big-1"), ("big", "thinker/0")]
    assert [(round(span.begin - BEGAN, 3), round(span.end - BEGAN, 3)) for span in found.spans] == [
        (0.0, 2.5), (0.5, 1.0), (0.5, 1.0), (1.5, 2.0),
    ]  # fmt: skip
    assert [each.tokens for each in found.sums] == [37, 30, 30, 7]
    assert found.sums[0].cost == 0.25
    assert not found.spans[0].good


def test_a_long_chain_is_found_from_its_end(tmp_path: Path) -> None:
    events: list[Event] = [
        got(f"link/{number}", 1, number * 0.1, f"link/{number - 1}" if number else "cli/1") for number in range(30)
    ]
    found = tree(tmp_path, events, 29)
    assert found.spans[0].place == 0
    assert [span.parent for span in found.spans] == [None, *range(29)]
