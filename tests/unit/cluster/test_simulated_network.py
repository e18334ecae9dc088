"""The core of a cluster against a simulated network: thousands of histories, each from a seed.

Faults that are planted in the core show that the checker finds them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.cluster.histories import Histories, find_fault, histories
from tests.support.cluster.simulation import History, LongHistory
from three_mode.cluster.core.calling import Calling
from three_mode.cluster.core.calls import OutCalls
from three_mode.cluster.core.casts import CastsOf, ComingCasts
from three_mode.cluster.core.frames import PieceFrame
from three_mode.cluster.core.large import LargeFrames
from three_mode.cluster.core.links import LinkIn, LinkOut
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.pieces import Assembly, PiecesIn, PiecesOut

HISTORIES = 10_000
CHUNK = 1_000
LONG_HISTORIES = 1_000  # in which nodes are stopped until the others forget them
ENOUGH = 600  # histories in which a planted fault shows


@pytest.fixture(scope="module")
def many() -> Iterator[Histories]:
    with histories() as played:
        yield played


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_the_promises_hold_in_every_history(many: Histories, first: int) -> None:
    many.hold(History, range(first, first + CHUNK))


def test_the_promises_hold_where_nodes_are_stopped_for_long(many: Histories) -> None:
    many.hold(LongHistory, range(LONG_HISTORIES))


def test_a_seed_is_the_same_history_each_time() -> None:
    one, two = History(7).run(), History(7).run()
    assert (one.tells, one.casts, list(one.epochs)) == (two.tells, two.casts, list(two.epochs))


def test_histories_have_what_they_are_for() -> None:
    """A checker of calls that never begin, or of nodes that are never lost, would find nothing."""
    played = [History(seed).run() for seed in range(200)]
    assert sum(became == "handled" for one in played for became in one.tells.values()) > 200
    assert sum(became == "missing" for one in played for became in one.tells.values()) > 20
    assert sum(became == "unknown" for one in played for became in one.tells.values()) > 5
    assert sum(one.whole for one in played) > 50
    assert sum(call.begun for one in played for call in one.calls.values()) > 400
    assert sum(len(call.parts) for one in played for call in one.calls.values()) > 100
    assert sum(len(node.cuts) for one in played for node in one.nodes) > 50
    assert sum(len(numbers) for one in played for node in one.nodes for numbers in node.delivered.values()) > 100
    assert sum(len(gaps) for one in played for node in one.nodes for gaps in node.gaps.values()) > 20


def _takes_all(link: LinkIn, number: int) -> tuple[bool, None]:
    link.last = max(link.last, number)
    return True, None


def _takes_without_gaps(link: LinkIn, number: int) -> tuple[bool, None]:
    if number <= link.last:
        return False, None
    link.last = number
    return True, None


def _hears_no_report(link: LinkOut, ack: Any) -> list[Any]:
    link.notes.clear()
    return []


def _takes_any_piece(into: PiecesIn, frame: PieceFrame) -> None:
    one = into._open.setdefault(frame.id, Assembly(0))
    one.pieces.append(frame.piece)
    one.came = one.size


PLANTED: dict[str, tuple[type, str, Callable[..., Any], str]] = {
    "duplicates are taken": (LinkIn, "takes", _takes_all, "begins twice|handled after"),
    "gaps are not noticed": (LinkIn, "takes", _takes_without_gaps, "in silence"),
    "reports of what is missing are ignored": (LinkOut, "acked", _hears_no_report, "in silence"),
    "a link that is cut forgets what was under way": (LinkOut, "cut", lambda link: [], "in silence"),
    "messages go to any incarnation": (
        OwnNames,
        "acts",
        lambda own, name, epoch: name in own.claims,
        "got a message",
    ),
    "a node gives every incarnation one number": (
        OwnNames,
        "claim",
        lambda own, names: [
            own.claims.add([claim]) or own._changed.__setitem__(name, claim)
            for name in names
            for claim in [_claim(name)]
        ],
        "two incarnations",
    ),
    "the loser goes on after a partition": (OwnNames, "beaten_by", lambda *_: [], "acts at"),
    "changes of names that were missed are not asked for": (
        ClusterNode,
        "_want_names",
        lambda *_: None,
        "has scout|has judge",
    ),
    "any change of names is taken": (
        NamesOf,
        "change",
        lambda view, frame: view.claims.add(frame.claims) or setattr(view, "version", frame.version) or True,
        "has scout|has judge",
    ),
    "a call whose time is over waits on": (
        OutCalls,
        "expired",
        lambda calls, now: iter(()),
        "never rest|still waits|after its deadline",
    ),
    "calls to a lost node wait on": (Calling, "fail_all", lambda *_: [], "cannot reach"),
    "a broadcast that comes twice is taken twice": (
        CastsOf,
        "arrives",
        lambda casts, number: (True, casts.reached(number, number - 1)),
        "comes again",
    ),
    "broadcasts that are missing are not noticed": (CastsOf, "reached", lambda *_: None, "in silence|comes again"),
    "a payload with a piece missing is taken": (PiecesIn, "piece", _takes_any_piece, "another payload"),
    "half a payload is kept when no more of it comes": (PiecesIn, "drop", lambda *_: None, "payloads left"),
    "a piece that is missing is not told": (LargeFrames, "missing", lambda *_: None, "in silence|payloads left"),
    "small frames pass the large ones before them": (PiecesOut, "holds", lambda *_: False, "out of order|the parts"),
    "broadcasts pass the large ones before them": (ComingCasts, "holds", lambda *_: False, "out of order"),
    "a broadcast that did not come counts as seen": (CastsOf, "has", lambda casts, number: True, "counts as seen"),
}


def _claim(name: str) -> Any:
    from three_mode.cluster.core.frames import Claim

    return Claim(name, 1)


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, name, instead, found = PLANTED[fault]
    monkeypatch.setattr(kind, name, instead)
    find_fault(History, range(ENOUGH), found)


def test_links_to_a_forgotten_node_that_begin_as_if_it_were_new_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_all(core: ClusterNode, node: str) -> None:
        for table in (core.names, core._out, core._in, core.casting.of, core._shown.roles):
            table.pop(node, None)

    monkeypatch.setattr(ClusterNode, "_forget", forget_all)
    find_fault(
        LongHistory, range(ENOUGH), r"^tell-\d+ was lost in silence", r"^tell-\d+ is told as lost after it was handled"
    )
