"""A request as a target takes it, its time and label, and what is set aside for it."""

import time
from decimal import Decimal

import pytest

from tests.support.calls.parts import accounts_of, asking, call_of, log_of, settings_of
from three_mode.calls.request_prep import CallDefaults, RequestPrep
from three_mode.errors import BudgetExceeded, ContextLength, DeadlineExceeded
from three_mode.handling import HandledCall, current
from three_mode.messages import Tool
from three_mode.policies import Budget, Price, Target
from three_mode.policies.tallies import ZERO

GPT = Target("openai", "gpt-4o")
TABLE = {"default_provider": "openai", "timeout": 9, "max_tokens": 77}


def test_a_configured_limit_of_tokens_is_for_requests_that_name_none() -> None:
    prep = RequestPrep(accounts_of(settings_of(TABLE)), log_of())
    assert prep.prepare(call_of(asking(), GPT), GPT)[0].max_tokens == 77
    assert prep.prepare(call_of(asking(max_tokens=5), GPT), GPT)[0].max_tokens == 5


def test_tools_go_into_the_prompt_of_a_model_that_has_none() -> None:
    prep, tool = RequestPrep(accounts_of(settings_of()), log_of()), Tool(name="look", description="looks")
    request = asking(tools=(tool,))
    able, emulated = prep.prepare(call_of(request, GPT), GPT)
    assert (able.tools, emulated) == ((tool,), False)
    llama = Target("meta", "llama-2-7b")
    unable, emulated = prep.prepare(call_of(request, llama), llama)
    assert (unable.tools, emulated) == ((), True)
    assert "look" in "".join(message.text for message in unable.messages)


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent() -> None:
    prep = RequestPrep(accounts_of(settings_of()), log_of())
    with pytest.raises(ContextLength):
        prep.prepare(call_of(asking(), GPT, tokens=10**6), GPT)


def test_what_is_set_aside_is_the_most_that_a_call_may_cost() -> None:
    log = log_of(Budget(limit=10), **{"gpt-4o": Price(input=Decimal(1), output=Decimal(10))})
    prep = RequestPrep(accounts_of(settings_of()), log)
    request = asking(max_tokens=500_000)
    call = call_of(request, GPT, tokens=16, began=time.monotonic())
    assert prep.reserve(call, request, GPT) == Decimal("0.000016") + 5
    with pytest.raises(BudgetExceeded):
        prep.reserve(call, asking(max_tokens=600_000), GPT)


def test_a_prompt_may_be_written_into_the_cache_which_costs_more() -> None:
    price = Price(input=Decimal(1), output=Decimal(10), cache_read=Decimal("0.1"), cache_write=Decimal("1.25"))
    prep = RequestPrep(accounts_of(settings_of()), log_of(Budget(limit=10), **{"gpt-4o": price}))
    request = asking(max_tokens=100)
    call = call_of(request, GPT, tokens=16, began=time.monotonic())
    assert prep.reserve(call, request, GPT) == Decimal("0.00002") + Decimal("0.001")


def test_nothing_is_set_aside_without_budgets() -> None:
    prep = RequestPrep(accounts_of(settings_of()), log_of())
    assert prep.reserve(call_of(asking(), GPT), asking(), GPT) is ZERO


def test_the_time_of_a_call_is_its_own_then_the_connections_then_that_of_settings() -> None:
    settings = settings_of(TABLE)
    accounts = accounts_of(settings)
    assert CallDefaults(accounts, settings, None, None).time_limit(None, "openai") == 9
    connection = CallDefaults(accounts, settings, 5.0, None)
    assert connection.time_limit(None, "openai") == 5
    assert connection.time_limit(2.0, "openai") == 2


def test_inside_a_handler_a_call_gets_no_more_than_what_remains() -> None:
    settings = settings_of(TABLE)
    defaults = CallDefaults(accounts_of(settings), settings, None, None)
    token = current.set(HandledCall(agent="scout/1", turn=1, deadline=time.monotonic() + 1))
    try:
        assert 0 < defaults.time_limit(None, "openai") <= 1
        current.set(HandledCall(agent="scout/1", turn=1, deadline=time.monotonic() - 1))
        with pytest.raises(DeadlineExceeded):
            defaults.time_limit(None, "openai")
    finally:
        current.reset(token)


def test_a_label_is_the_requests_or_the_connections() -> None:
    settings = settings_of()
    defaults = CallDefaults(accounts_of(settings), settings, None, "me")
    assert defaults.label_of(asking()) == "me"
    assert defaults.label_of(asking(metadata={"label": "you"})) == "you"
    assert defaults.label_of(asking(metadata={"caller": "x"})) == "me"
