"""Requests put together from the turns that hosts tell: trees, waits, models, what comes late and what is lost."""

import msgspec

from three_mode.agents.wire.watching import AskSight, ModelSight, TurnSight, WaitSight, WatchReport
from three_mode.page.requests import MOST_REQUESTS, RequestLog, tree_of_turns
from three_mode.page.views.requests import new_messages, new_turns, rate_for


def turn(
    number: int, agent: str, chain: str, begin: float, end: float, queued: float | None = None, **given: object
) -> TurnSight:
    waited = begin if queued is None else queued
    return TurnSight(number, agent, 1, chain, "score", "cli/1", waited, begin, end, 30.0, "", **given)  # type: ignore[arg-type]


def test_turns_are_below_those_that_wait_for_them_with_waits_and_models() -> None:
    call = ModelSight("tiny", "local", 2.0, 3.0, 12, 0.5, "", (WaitSight("limiter", 2.0, 2.5),))
    log = RequestLog()
    ended = log.add(
        [
            turn(1, "scout/0", "front/0:1>judge/0:1", 1.5, 3.5, queued=1.2, models=(call,)),
            turn(2, "judge/0", "front/0:1", 1.0, 4.0),
            turn(3, "front/0", "", 0.5, 5.0),
        ]
    )
    assert ended == ["front/0:1"]
    tree = log.tree("front/0:1")
    assert tree is not None
    assert [(span.name, span.kind, span.parent) for span in tree.spans] == [
        ("front/0", "agent", None),
        ("judge/0", "agent", 0),
        ("scout/0", "agent", 1),
        ("mailbox", "wait", 2),
        ("tiny", "model", 2),
        ("limiter", "wait", 4),
        ("local", "provider", 4),
    ]
    assert tree.spans[6].begin == 2.5
    assert (tree.begin, tree.end, tree.deadline) == (0.5, 5.0, 30.0)
    assert (tree.sums[0].tokens, tree.sums[0].cost) == (12, 0.5)
    (listed,) = log.listed()
    assert (listed.name, listed.turns, listed.tokens, listed.seconds) == ("front/0", 3, 12, 4.5)


def test_the_way_of_a_message_and_what_is_not_known_of_an_answer_are_drawn() -> None:
    asks = (
        AskSight("judge/0", "score", 1.0, 3.5, ""),
        AskSight("judge/0", "score", 4.0, 6.0, ""),
        AskSight("far/0", "score", 6.0, 7.0, "PeerLost"),
    )
    tree = tree_of_turns(
        [
            turn(1, "front/0", "", 0.5, 8.0, asks=asks),
            turn(2, "judge/0", "front/0:1", 1.5, 3.0, queued=1.25),
            turn(3, "judge/0", "front/0:1", 4.0, 6.0),
        ]
    )
    assert [(span.name, span.parent, span.begin, span.end, span.good) for span in tree.spans] == [
        ("front/0", None, 0.5, 8.0, True),
        ("network", 0, 1.0, 1.25, True),
        ("judge/0", 0, 1.25, 3.0, True),
        ("mailbox", 2, 1.25, 1.5, True),
        ("network", 0, 3.0, 3.5, True),
        ("judge/0", 0, 4.0, 6.0, True),
        ("far/0", 0, 6.0, 7.0, False),
    ]
    assert tree.spans[6].detail == "score, not known in detail"
    assert tree.waits == {"network": 0.75, "mailbox": 0.25}


def test_an_agent_that_is_a_model_is_below_the_call_that_it_answers() -> None:
    call = ModelSight("tiny", "agent", 1.0, 3.0, 5, 0.0, "")
    waited = (WaitSight("model queue", 1.5, 2.0),)
    answer = msgspec.structs.replace(
        turn(2, "brain/0", "front/0:1", 1.25, 3.25, waits=waited), handler="chat_completion"
    )
    tree = tree_of_turns([turn(1, "front/0", "", 0.5, 8.0, models=(call,)), answer])
    assert [(span.name, span.kind, span.parent) for span in tree.spans] == [
        ("front/0", "agent", None),
        ("tiny", "model", 0),
        ("agent", "provider", 1),
        ("brain/0", "agent", 2),
        ("model queue", "wait", 3),
    ]


def test_what_comes_after_its_request_is_added_and_a_missing_link_is_passed_over() -> None:
    log = RequestLog()
    log.add([turn(1, "front/0", "", 0.0, 5.0)])
    assert log.add([turn(1, "scout/0", "front/0:1>elsewhere/0:1", 1.0, 2.0)]) == []
    tree = log.tree("front/0:1")
    assert tree is not None
    assert [span.parent for span in tree.spans] == [None, 0]
    assert log.tree("nobody/0:1") is None


def test_only_the_newest_requests_are_kept() -> None:
    log = RequestLog()
    for number in range(MOST_REQUESTS + 20):
        log.add([turn(1, f"scout/{number}", "", 0.0, 1.0)])
    assert [each.name for each in log.listed()[:2]] == [f"scout/{MOST_REQUESTS + 19}", f"scout/{MOST_REQUESTS + 18}"]
    assert len(log.listed()) == MOST_REQUESTS


def test_each_turn_is_taken_once_and_what_is_lost_is_counted() -> None:
    last: dict[str, tuple[float, int]] = {}
    turns = [turn(number, "scout/0", "", 0.0, float(number)) for number in range(1, 9)]
    first = WatchReport("host-1", 1.0, turns=tuple(turns[:3]))
    assert new_turns(last, [first]) == (turns[:3], 0)
    again = WatchReport("host-1", 1.0, turns=(*turns[1:4], *turns[6:]))
    assert new_turns(last, [again]) == ([turns[3], *turns[6:]], 2)
    anew = WatchReport("host-1", 2.0, turns=tuple(turns[:1]))
    assert new_turns(last, [anew]) == (turns[:1], 0)


def test_the_share_that_is_sampled_follows_how_many_there_are() -> None:
    assert rate_for(15_000, 1) == 128
    assert rate_for(150, 1) == 1
    assert rate_for(800, 8) == 8, "a number that swings a little leaves the rate alone"
    assert rate_for(0, 128) == 1


def test_messages_are_counted_from_report_to_report_and_from_nothing_where_a_host_counts_anew() -> None:
    last: dict[str, int] = {}
    assert new_messages(last, [WatchReport("host-1", 1.0, messages=70), WatchReport("host-2", 1.0, messages=5)]) == 75
    assert new_messages(last, [WatchReport("host-1", 1.0, messages=90)]) == 20
    assert new_messages(last, [WatchReport("host-1", 2.0, messages=30)]) == 30
