"""Orders between nodes: what is written is read, what is none is refused, and none is done twice."""

import msgspec
import pytest

from three_mode.cluster.core.orders import (
    ANSWERS,
    AgentsOrder,
    BadOrder,
    EndedOrder,
    Failure,
    Order,
    OrderBook,
    Placed,
    PlaceOrder,
    RestartRule,
    encode_order,
    read_order,
    read_placed,
)

ORDERS: list[Order] = [
    PlaceOrder(
        7, "scout", (0, 3), "city.scouts", "Scout", b"\x90", ("scout",), RestartRule("permanent", 1.0), True, True
    ),
    AgentsOrder(8, "stop", ("scout/0",), 7),
    EndedOrder(9, ("scout/3",), 7, "it ended", False, True),
]


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_written_is_read(order: Order) -> None:
    assert read_order(encode_order(order)) == order


@pytest.mark.parametrize(
    "fields",
    [
        ["place", -1, "scout", [0], "city", "Scout", b""],
        ["place", 1, "scout", [-1], "city", "Scout", b""],
        ["place", 1, "scout", [0], "city", "Scout", b"", [], ["forever"]],
        ["agents", 1, "kill", ["scout/0"]],
        ["agents", 1, "stop", "scout/0"],
        ["ended", 1],
        ["run", 1],
        7,
    ],
)
def test_a_field_that_does_not_fit_is_refused(fields: object) -> None:
    with pytest.raises(BadOrder, match="no order of a cluster"):
        read_order(msgspec.msgpack.encode(fields))
    with pytest.raises(BadOrder, match="no answer"):
        read_placed(b"\x07")
    assert read_placed(encode_order(Placed("no", "do"))) == Placed("no", "do")


def test_an_order_that_comes_again_waits_for_the_answer_of_the_first() -> None:
    book = OrderBook()
    assert book.take("b", 7, 1) == "new"
    assert book.take("b", 7, 2) == "repeated"
    assert book.take("c", 7, 3) == "new"
    assert book.answer("b", 7) is None
    assert book.done("b", 7, b"done") == [1, 2]
    assert book.done("b", 7, b"again") == []
    assert book.take("b", 7, 4) == "repeated"
    assert book.answer("b", 7) == b"done"
    assert book.done("c", 7, Failure("failed", "no")) == [3]
    assert book.answer("c", 7) == Failure("failed", "no")


def test_an_order_that_is_forgotten_is_not_done_again() -> None:
    book = OrderBook()
    for number in range(ANSWERS + 1):
        assert book.take("b", number, number) == "new"
        book.done("b", number, b"")
    assert book.take("b", 0, 1) == "forgotten"
    assert book.take("b", 1, 1) == "repeated"
