"""Rows of events, and what may be asked of steering."""

import msgspec
import pytest

from three_mode.agents.supervisor.events import AgentsMoved, HostLost
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.watching import ReceiptSight
from three_mode.errors import InvalidRequest
from three_mode.page.steering import Steer
from three_mode.page.views.events import of_event, of_letter, of_receipt


def test_events_say_their_kind_and_whom_they_are_about() -> None:
    lost = of_event(HostLost("host-1", "killed", 3))
    assert (lost.what, lost.agent) == ("host_lost", "host-1")
    assert "3 agents" in lost.text
    assert of_event(AgentsMoved(("scout/1", "scout/2"), "far", "near")).agent == "scout/1"


def test_a_dead_letter_shows_its_content_only_where_it_came_along() -> None:
    letter = DeadLetter("scout/1", "score", "clerk/2", "nobody", 5.0, msgspec.msgpack.encode(["secret"]), 8)
    assert of_letter(letter).text.endswith(': ["secret"]')
    assert "secret" not in of_letter(msgspec.structs.replace(letter, payload=b"")).text
    assert "secr" in of_letter(msgspec.structs.replace(letter, payload=letter.payload[:6])).text, "it was cut short"


def test_a_receipt_adds_up_its_hosts() -> None:
    first = ReceiptSight(1, 5.0, "m", 7, "news.eu", 4, 1, 0, 0)
    event = of_receipt([("host-2", first), ("host-1", msgspec.structs.replace(first, late=0, lost=1, failed=2))])
    assert (event.agent, event.text) == (
        "host-1, host-2",
        "news.eu: 6 of 8 agents have seen it, 1 lag, 1 lost it, 2 failed",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        Steer("pause", ()),
        Steer("pause", ("",)),
        Steer("pause", ("scout/1",), "DEBUG"),
        Steer("stop", ("a\nb",)),
        Steer("stop", ("x" * 201,)),
        Steer("log_level", ("three_mode",), "LOUD"),
    ],
)
def test_what_cannot_be_done_is_said(wrong: Steer) -> None:
    with pytest.raises(InvalidRequest):
        wrong.check()


def test_what_is_wanted_is_said_in_a_line() -> None:
    assert str(Steer("log_level", ("",), "DEBUG")) == "log_level the root logger to DEBUG"
    assert str(Steer("stop", tuple(f"scout/{number}" for number in range(7)))).endswith("scout/4 and 2 more")
    Steer("kill", ("host-1",)).check()
