"""Spans of a request: sums by time, tokens and cost, and where each is drawn."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from three_mode.page.spans import MEASURES, RequestSpan, laid_out, sums_of, tree_of

TREE = [
    RequestSpan("front/0", "agent", 0.0, 10.0),
    RequestSpan("mailbox", "wait", 0.0, 1.0, 0, "mailbox"),
    RequestSpan("scout/0", "agent", 1.0, 5.0, 0),
    RequestSpan("tiny", "model", 2.0, 4.0, 2, tokens=30, cost=0.5),
    RequestSpan("scout/1", "agent", 3.0, 8.0, 0),
    RequestSpan("tiny", "model", 4.0, 7.0, 4, tokens=10, cost=1.5),
]


def test_each_takes_what_is_its_own_and_all_below_it() -> None:
    sums = sums_of(TREE)
    assert [each.time for each in sums] == [10, 1, 4, 2, 5, 3]
    assert [each.own_time for each in sums] == [2, 1, 2, 2, 2, 3]  # below the root ran 0 to 8, two of them at once
    assert [each.tokens for each in sums] == [40, 0, 30, 30, 10, 10]
    assert [each.own_tokens for each in sums] == [0, 0, 0, 30, 0, 10]
    assert [each.cost for each in sums] == [2.0, 0, 0.5, 0.5, 1.5, 1.5]


def test_by_time_each_is_where_it_was_and_what_ran_at_once_is_in_rows_of_its_own() -> None:
    boxes = laid_out(tree_of(TREE))
    assert [(round(box.left, 3), round(box.width, 3)) for box in boxes] == [
        (0, 1), (0, 0.1), (0.1, 0.4), (0.2, 0.2), (0.3, 0.5), (0.4, 0.3),
    ]  # fmt: skip
    rows = [box.row for box in boxes]
    assert rows[:4] == [0, 1, 1, 2]
    assert rows[4] > 1
    assert rows[5] > rows[4]


def test_a_deadline_behind_the_end_is_in_the_picture() -> None:
    assert laid_out(tree_of(TREE, deadline=20.0))[0].width == 0.5
    assert laid_out(tree_of(TREE, deadline=2000.0))[0].width == 1.0, "one that is far away would leave no room"


def test_by_cost_each_is_as_wide_as_its_share() -> None:
    boxes = laid_out(tree_of(TREE), "cost")
    assert [(box.row, box.left, box.width) for box in boxes] == [
        (0, 0, 1), (1, 0, 0), (1, 0, 0.25), (2, 0, 0.25), (1, 0.25, 0.75), (2, 0.25, 0.75),
    ]  # fmt: skip


@st.composite
def trees(draw: st.DrawFn) -> list[RequestSpan]:
    spans: list[RequestSpan] = []
    for place in range(draw(st.integers(1, 14))):
        begin = draw(st.floats(0, 100, width=32))
        spans.append(
            RequestSpan(
                "x",
                "agent",
                begin,
                begin + draw(st.floats(0, 50, width=32)),
                draw(st.integers(0, place - 1)) if place else None,
                tokens=draw(st.integers(0, 99)),
                cost=draw(st.integers(0, 9)) / 8,
            )
        )
    return spans


@given(trees())
@settings(max_examples=60, deadline=None)
def test_no_box_covers_another_and_own_parts_make_the_whole(spans: list[RequestSpan]) -> None:
    tree = tree_of(spans)
    assert sum(each.own_tokens for each in tree.sums) == tree.sums[0].tokens
    assert sum(each.own_cost for each in tree.sums) == pytest.approx(tree.sums[0].cost)
    assert all(0 <= each.own_time <= each.time + 1e-6 for each in tree.sums)
    for measure in MEASURES:
        boxes = laid_out(tree, measure)
        for place, box in enumerate(boxes):
            assert box.left >= -1e-9
            assert box.left + box.width <= 1 + 1e-6
            parent = spans[place].parent
            assert parent is None or box.row > boxes[parent].row
            for other in boxes[:place]:
                apart = box.left + box.width <= other.left + 1e-6 or other.left + other.width <= box.left + 1e-6
                assert box.row != other.row or apart or min(box.width, other.width) < 1e-6
