"""Events as values: frozen, with a kind, to plain data and back."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from three_mode.errors import ConfigurationError, InvalidRequest
from three_mode.events import (
    KINDS,
    AskedAs,
    BudgetUse,
    FunctionCalls,
    LLMEvent,
    ResponseChunk,
    ToolReturned,
    event_from,
)
from three_mode.events.kinds import chosen
from three_mode.events.values import EVENT_TYPES
from three_mode.messages import ToolCall

CALLS = FunctionCalls(time=1.5, request_id="call_1", label="me", calls=(ToolCall("c1", "add", {"a": 1}),))


def test_each_kind_has_one_type_that_knows_it() -> None:
    assert tuple(EVENT_TYPES) == KINDS
    for kind, each in EVENT_TYPES.items():
        assert each(time=0.0).kind == kind
        plain = each(time=0.0).as_dict()
        assert (plain["type"], plain["time"]) == (kind, 0.0)
        assert None not in plain.values()
        assert event_from(plain) == each(time=0.0)


@pytest.mark.parametrize(
    "event",
    [
        CALLS,
        BudgetUse(time=2.0, budget="the budget of label me", limit=Decimal("1.5"), left=Decimal("0.5"), used=0.66),
        ResponseChunk(
            time=3.0, text="größer", conversation="a/1", agent="scout/7", asked_as=AskedAs("chatcmpl-1", "m")
        ),
        ToolReturned(time=4.0, call_id="c1", name="add", status="failed", content="KeyError: 'a'", round=2),
    ],
)
def test_an_event_comes_back_from_plain_data(event: LLMEvent) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(event.as_dict()))
    assert event_from(plain) == event


@pytest.mark.parametrize("plain", [{}, {"type": "no_such"}, {"type": "retry"}, {"type": "retry", "time": "now"}])
def test_what_is_no_event_is_an_error(plain: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="this is no event"):
        event_from(plain)


def test_an_event_is_frozen() -> None:
    with pytest.raises(AttributeError):
        CALLS.label = "you"  # type: ignore[misc]


def test_an_unknown_kind_names_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="no kind of event 'response_begin'") as raised:
        chosen(["retry", "response_begin"])
    assert all(kind in (raised.value.hint or "") for kind in KINDS)
    with pytest.raises(ConfigurationError, match="no kinds"):
        chosen([])
    assert chosen("retry") == {"retry"}
    assert chosen(None) == set(KINDS)
