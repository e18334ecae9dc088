"""Which pieces wait for the next ones on their way out of the engine, with the time given."""

from typing import Any

from local_models.engine.handover import TOGETHER, Handover
from local_models.engine.tickets import Item, Ticket
from local_models.replies import Piece


class Loop:
    """Where the callers of some tickets live."""

    def __init__(self) -> None:
        self.posts: list[list[str]] = []

    def __call__(self, items: list[tuple[Ticket, Item]]) -> None:
        self.posts.append([item.text if isinstance(item, Piece) else str(item) for _, item in items])


def ticket(loop: Loop) -> Ticket:
    given: Any = {"tokens": [], "options": None, "sampling": None, "deliver": None}
    return Ticket(post=loop, pieces=True, asked=0.0, deadline=1.0, **given)


def run(step: float, count: int) -> Loop:
    """A stretch of tokens, each of so many seconds, behind a first one."""
    loop, out = Loop(), Handover()
    one = ticket(loop)
    out.add(one, Piece(text="first"))
    out.flush(10.0)
    for number in range(1, count + 1):
        out.add(one, Piece(text=str(number)))
        out.flush_unless_soon(10.0 + number * step, step)
    return loop


def test_a_slow_model_hands_each_over_as_it_comes() -> None:
    for step in (TOGETHER, 0.02, 3.0):
        assert run(step, 3).posts == [["first"], ["1"], ["2"], ["3"]]


def test_pieces_of_a_fast_one_go_together_and_none_waits_longer_than_said() -> None:
    posts = run(TOGETHER / 4.5, 10).posts
    assert posts == [
        ["first"],
        ["1", "2", "3", "4"],
        ["5", "6", "7", "8"],
    ]  # the rest waits for the next step
    assert run(TOGETHER * 0.6, 4).posts == [["first"], ["1"], ["2"], ["3"], ["4"]]


def test_a_flush_sends_whatever_waits_to_each_loop_once() -> None:
    here, there, out = Loop(), Loop(), Handover()
    one, two, three = ticket(here), ticket(there), ticket(here)
    out.begins()
    for which, text in ((one, "a"), (two, "b"), (three, "c"), (one, "d")):
        out.add(which, Piece(text=text))
    out.flush_unless_soon(0.0, TOGETHER / 10)
    assert not here.posts
    out.flush(0.0)
    assert (here.posts, there.posts) == ([["a", "c", "d"]], [["b"]])
    out.flush(1.0)
    assert len(here.posts) == 1
