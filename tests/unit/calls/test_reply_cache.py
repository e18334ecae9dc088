"""Keys of calls that may share a reply, and a stored reply as the one of a new call."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls.parts import accounts_of, asking, call_of, log_of, settings_of
from tests.support.providers.clock import FakeClock
from three_mode.calls.provider_accounts import Account
from three_mode.calls.reply_cache import ReplyCache
from three_mode.errors import ModeUnavailable
from three_mode.messages import CacheHints, LLMRequest, LLMResponse, Text, Usage
from three_mode.policies import CacheOptions, MemoryCache, Price, Target

A, B = Target("openai", "a"), Target("anthropic", "b")
REPLY = LLMResponse(parts=(Text("hello"),), usage=Usage(3, 4))
PRICES = {"a": Price(input=Decimal(10**6), output=Decimal(10**6))}


def replies_of(*, stored: bool = True, shared: bool = False, **accounts: Account) -> ReplyCache:
    cache = MemoryCache(CacheOptions(), FakeClock()) if stored else None
    return ReplyCache(cache, shared, accounts_of(settings_of(), **accounts), log_of(**PRICES))


def key(replies: ReplyCache, request: LLMRequest, target: Target = A) -> bytes | None:
    return replies.key_of(call_of(request, target), target)


def test_equal_requests_have_one_key_and_others_another() -> None:
    replies = replies_of()
    same = key(replies, asking(temperature=0.5))
    assert same == key(replies, asking(temperature=0.5))
    others: list[dict[str, Any]] = [{"temperature": 0.6}, {"max_tokens": 3}, {"seed": 1}, {"stop": "END"}]
    assert len({same, key(replies, asking("ho", temperature=0.5)), *(key(replies, asking(**o)) for o in others)}) == 6


def test_who_pays_and_how_long_it_may_take_change_no_key() -> None:
    replies = replies_of()
    assert key(replies, asking()) == key(replies, asking(metadata={"label": "me"}, within=3.0))


def test_another_model_address_or_account_is_another_key() -> None:
    plain = replies_of(openai=Account(api_key="one"))
    keys = {
        key(plain, asking()),
        key(plain, asking(), Target("openai", "b")),
        key(plain, asking(), Target("anthropic", "a")),
        key(replies_of(openai=Account(api_key="two")), asking()),
        key(replies_of(openai=Account(api_key="one", base_url="https://proxy/v1")), asking()),
        key(replies_of(openai=Account(api_key="one", headers={"x-team": "blue"})), asking()),
    }
    assert len(keys) == 6


def test_a_call_has_no_key_where_it_shares_no_reply() -> None:
    assert key(replies_of(stored=False), asking()) is None
    assert key(replies_of(stored=False, shared=True), asking()) is not None
    assert key(replies_of(), asking(cache=CacheHints(response="skip"))) is None


def test_a_call_that_wants_a_fresh_reply_reuses_none_and_has_a_key() -> None:
    replies, fresh = replies_of(), asking(cache=CacheHints(response="refresh"))
    assert key(replies, fresh) == key(replies, asking())
    assert not replies.may_reuse(call_of(fresh, A))
    assert replies.may_reuse(call_of(asking(), A))
    assert not replies_of(stored=False, shared=True).may_reuse(call_of(asking(), A))


@pytest.mark.parametrize("giver", [A, B])
async def test_a_reused_reply_costs_nothing_and_says_who_gave_it(giver: Target) -> None:
    replies, call = replies_of(), call_of(asking(), A)
    stored_under = key(replies, asking())
    assert stored_under is not None
    await replies.store(call, stored_under, REPLY, giver, A)
    stored = await replies.find(stored_under)
    assert stored is not None
    again = call_of(asking(), A)
    reply, usage = replies.reuse(again, stored, A)
    assert (reply.content, usage.input_tokens, usage.output_tokens) == ("hello", 3, 4)
    assert usage.cost == (Decimal(0) if giver is A else None), "nobody knows a price of the other one"
    assert (again.target, again.reused) == (giver, "cache_hit")
    assert [(step.kind, step.provider) for step in again.context.steps] == [("cache_hit", giver.provider)]


def chained(replies: ReplyCache, route: str | None, *targets: Target) -> bytes | None:
    call = call_of(asking(), targets[0])
    call.targets, call.route = targets, route
    return replies.key_of(call, targets[0])


def test_who_may_answer_in_its_place_is_part_of_the_key() -> None:
    replies, other = replies_of(), Target("openai", "c")
    keys = [
        chained(replies, None, A),
        chained(replies, None, A, B),
        chained(replies, "smart", A),
        chained(replies, "smart", A, B),
        chained(replies, "smart", A, other),
        chained(replies, "clever", A, B),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key(replies, asking())
    assert chained(replies, "smart", A, B, other) == chained(replies, "smart", A, other, B)


def test_agents_of_one_name_on_two_buses_share_no_reply() -> None:
    accounts, log = accounts_of(settings_of()), log_of()
    brain = Target("agent", "brain")

    def of(bus: str) -> bytes | None:
        return key(ReplyCache(MemoryCache(), False, accounts, log, lambda: bus), asking(), brain)

    assert of("city") == of("city") != of("village")

    def nowhere() -> str:
        raise ModeUnavailable("there is no bus here")

    assert key(ReplyCache(MemoryCache(), False, accounts, log, nowhere), asking(), brain) is not None


def test_files_of_one_name_in_two_folders_share_no_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replies, keys = replies_of(), list[bytes | None]()
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        keys.append(key(replies, asking(), Target("local", "model.gguf")))
    monkeypatch.chdir(tmp_path)
    assert keys[0] != keys[1]
    assert key(replies, asking(), Target("local", "tiny")) == key(replies, asking(), Target("local", "tiny"))
