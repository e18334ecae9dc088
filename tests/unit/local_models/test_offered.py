"""Pieces offered on the engine's thread: a piece that is not taken goes to the loop, with all pieces after it."""

from typing import Any

import pytest

from local_models.engine.loop_side import DirectPost
from local_models.engine.tickets import Item
from local_models.errors import DeadlineExceeded
from local_models.replies import Piece

LAST = Piece(text="", finish="stop")


class Places:
    """Where pieces came to: taken, as long as there is room, or the loop."""

    def __init__(self, room: int, breaks: bool = False) -> None:
        self.room, self.breaks = room, breaks
        self.taken: list[str] = []
        self.loop: list[Item] = []
        loop: Any = lambda items: self.loop.extend(item for _, item in items)  # noqa: E731
        self.post = DirectPost(loop, self._take)

    def _take(self, pieces: Any) -> bool:
        if self.room <= 0:
            if self.breaks:
                raise RuntimeError("broken")
            return False
        self.room -= 1
        self.taken += [piece.text for piece in pieces]
        return True

    def give(self, *items: Item) -> None:
        self.post([(None, item) for item in items])  # type: ignore[misc]  # whose they are is nothing to it


def test_what_is_taken_the_loop_does_not_see_but_for_the_end() -> None:
    places = Places(room=9)
    places.give(Piece(text="a"), Piece(text="b"))
    assert (places.taken, places.loop) == (["a", "b"], [])
    places.give(Piece(text="c"), LAST)
    assert (places.taken, places.loop) == (["a", "b", "c", ""], [LAST])


@pytest.mark.parametrize("breaks", [False, True])
def test_from_the_first_that_is_refused_all_goes_to_the_loop(breaks: bool) -> None:
    places = Places(room=1, breaks=breaks)
    places.give(Piece(text="a"))
    places.give(Piece(text="b"))
    places.room = 9
    places.give(Piece(text="c"), LAST)
    assert places.taken == ["a"]
    assert [getattr(item, "text", None) for item in places.loop] == ["b", "c", ""]


def test_an_error_goes_to_the_loop_behind_what_came_with_it() -> None:
    places, late = Places(room=9), DeadlineExceeded("decode", 1.0)
    places.give(Piece(text="a"))
    places.give(Piece(text="b"), late)
    assert places.taken == ["a"]
    assert places.loop == [Piece(text="b"), late]
