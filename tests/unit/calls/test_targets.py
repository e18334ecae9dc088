"""Targets of a request: what its model's name says, the connection's provider, routes and fallback."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.calls.parts import SETTINGS, accounts_of, asking, settings_of
from three_mode.calls.provider_accounts import Account
from three_mode.calls.targets import ProviderChoice, Targets
from three_mode.channels.channel import Endpoint
from three_mode.errors import ConfigurationError, InvalidRequest, ModeConflict
from three_mode.modes import CommunicationMode
from three_mode.policies import FallbackOptions, Policies, Prices, Route, Router, Target

MODE = CommunicationMode
SPARE = Target("anthropic", "claude-sonnet-4-5")


def targets_of(
    policies: Policies | None = None,
    *,
    model: str | None = None,
    mode: CommunicationMode = MODE.AUTO,
    provider: str | None = "openai",
    table: Mapping[str, Any] = SETTINGS,
    order: tuple[str, ...] = ("openai",),
    **given: Account,
) -> Targets:
    policies, settings = policies or Policies(), settings_of(table)
    accounts = accounts_of(settings, **given)

    def endpoint(name: str) -> Endpoint:
        raise AssertionError("nobody is asked")

    choice = ProviderChoice(provider, order, accounts, endpoint)
    router = Router(policies.routes, Prices(), lambda provider, model: None)
    return Targets(choice, model, mode, settings, accounts, policies, router, frozenset({"tiny"}))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-5", Target("openai", "gpt-5")),
        ("agent:brain", Target("agent", "brain")),
        ("agent:scout/7", Target("agent", "scout/7")),
        ("tiny", Target("local", "tiny")),
        ("models/tiny.gguf", Target("local", "models/tiny.gguf")),
        ("https://host/v1#m", Target("https://host/v1", "m")),
        ("https://host/v1", Target("https://host/v1", "default")),
    ],
)
async def test_a_name_says_where_it_goes(model: str, target: Target) -> None:
    chosen, route = await targets_of().for_request(asking(model=model))
    assert (list(chosen), route) == ([target], None)


async def test_a_mode_decides_for_a_bare_name_and_contradicts_no_address() -> None:
    targets, _ = await targets_of().for_request(asking(model="brain", mode=MODE.AI_AI))
    assert list(targets) == [Target("agent", "brain")]
    with pytest.raises(ModeConflict):
        await targets_of().for_request(asking(model="agent:brain", mode=MODE.AI_PC))
    with pytest.raises(InvalidRequest, match="needs a model"):
        await targets_of(mode=MODE.AI_PC).for_request(asking())


async def test_the_model_is_the_requests_then_the_connections_then_the_providers() -> None:
    for named, connection, expected in (("a", "b", "a"), (None, "b", "b")):
        targets, _ = await targets_of(model=connection).for_request(asking(model=named))
        assert list(targets) == [Target("openai", expected)]


async def test_fallback_follows_the_first_target_once() -> None:
    policies = Policies(fallback=FallbackOptions(targets=(SPARE, Target("openai", "gpt-5"))))
    chosen, _ = await targets_of(policies).for_request(asking(model="gpt-5"))
    assert list(chosen) == [Target("openai", "gpt-5"), SPARE]
    local, _ = await targets_of(policies).for_request(asking(model="tiny"))
    assert list(local) == [Target("local", "tiny"), SPARE, Target("openai", "gpt-5")]
    addressed, _ = await targets_of(policies).for_request(asking(model="https://host/v1#m"))
    assert list(addressed) == [Target("https://host/v1", "m")], "who names an address means that one"


async def test_a_route_orders_its_targets_and_is_named() -> None:
    route = Route("smart", targets=(SPARE, Target("local", "tiny")))
    chosen, name = await targets_of(Policies(routes=(route,))).for_request(asking(model="smart"))
    assert (list(chosen), name) == ([SPARE, Target("local", "tiny")], "smart")


async def test_embeddings_have_one_target_and_need_a_name() -> None:
    policies = Policies(fallback=FallbackOptions(targets=(SPARE,)))
    assert await targets_of(policies).for_embedding("tiny", None) == Target("local", "tiny")
    assert await targets_of(policies).for_embedding("e5", None) == Target("openai", "e5")
    with pytest.raises(InvalidRequest, match="no model"):
        await targets_of().for_embedding(None, None)


async def test_providers_that_may_be_called_are_the_connections_and_those_of_fallback_and_routes() -> None:
    route = Route("smart", targets=(Target("gemini", "gemini-2.5-pro"),))
    policies = Policies(fallback=FallbackOptions(targets=(SPARE,)), routes=(route,))
    assert await targets_of(policies).providers() == {"openai", "anthropic", "gemini"}


CLAUDE = Target("anthropic", "claude-sonnet-4-5")
MODELS = {"providers": {name: {"model": f"default-of-{name}"} for name in ("anthropic", "openai")}}


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("anthropic/claude-sonnet-4-5", CLAUDE),
        ("claude/claude-sonnet-4-5", CLAUDE),  # an alias
        ("google/gemini-2.5-pro", Target("gemini", "gemini-2.5-pro")),
        ("openai/gpt-5", Target("openai", "gpt-5")),
        ("aicoding/anthropic/claude-opus-4.5", Target("aicoding", "anthropic/claude-opus-4.5")),
        ("meta-llama/Llama-4", Target("openai", "meta-llama/Llama-4")),  # no provider's name
        ("anthropic/", Target("openai", "anthropic/")),
    ],
)
async def test_the_name_of_a_model_may_begin_with_its_provider(model: str, target: Target) -> None:
    chosen, _ = await targets_of().for_request(asking(model=model))
    assert list(chosen) == [target]
    chosen, _ = await targets_of(model=model).for_request(asking())
    assert list(chosen) == [target], "as the default of a connection too"
    assert await targets_of().for_embedding(model, None) == target


@pytest.mark.parametrize("provider", ["aicoding", "v98", "ollama", "custom"])
async def test_at_a_provider_of_many_vendors_such_a_name_is_one_of_its_own(provider: str) -> None:
    targets = targets_of(provider=provider)
    chosen, _ = await targets.for_request(asking(model="anthropic/claude-opus-4.5"))
    assert list(chosen) == [Target(provider, "anthropic/claude-opus-4.5")]
    assert targets.named_provider("anthropic/claude-opus-4.5") is None


async def test_so_it_is_at_an_address_that_is_not_the_providers_own() -> None:
    gateway = targets_of(openai=Account(base_url="https://gateway.test/v1"))
    for model in ("anthropic/claude-opus-4.5", "openai/gpt-5"):
        chosen, _ = await gateway.for_request(asking(model=model))
        assert list(chosen) == [Target("openai", model)]


async def test_a_request_may_name_its_provider() -> None:
    async def of(targets: Targets, **fields: Any) -> list[Target]:
        return list((await targets.for_request(asking(**fields)))[0])

    targets = targets_of(table=SETTINGS | MODELS, model="mine")
    assert await of(targets, provider="anthropic", model="claude-sonnet-4-5") == [CLAUDE]
    assert await of(targets, provider="claude", model="anthropic/claude-sonnet-4-5") == [CLAUDE]
    assert await of(targets, provider="anthropic") == [Target("anthropic", "default-of-anthropic")]
    assert await of(targets, provider="openai") == [Target("openai", "mine")]
    assert await of(targets, provider="https://host/v1", model="m") == [Target("https://host/v1", "m")]
    with_spare = Policies(fallback=FallbackOptions(targets=(SPARE, Target("gemini", "g"))))
    assert await of(targets_of(with_spare), provider="anthropic", model="m") == [
        Target("anthropic", "m"),
        SPARE,
        Target("gemini", "g"),
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"provider": "nobody", "model": "m"}, "provider"),
        ({"provider": "agent", "model": "brain"}, "provider"),
        ({"provider": "openai", "model": "agent:brain"}, "provider"),
        ({"provider": "openai", "model": "gguf:x.gguf"}, "provider"),
        ({"provider": "openai", "model": "https://host/v1"}, "provider"),
        ({"provider": "openai", "model": "m", "mode": MODE.AI_AI}, "provider"),
        ({"provider": "gemini"}, "model"),
    ],
)
async def test_a_provider_that_cannot_be_meant_is_an_error(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await targets_of().for_request(asking(**fields))
    assert caught.value.field == field


async def test_where_nobody_named_a_provider_the_other_available_ones_are_its_fallback() -> None:
    order = ("anthropic", "deepseek", "openai", "gemini")
    keys = {name: Account(api_key="a-key-of-the-test") for name in ("anthropic", "openai", "gemini")}
    spares = [Target("openai", "default-of-openai"), Target("gemini", "gemini-2.5-flash")]

    async def of(policies: Policies | None, named: str | None, **fields: Any) -> list[Target]:
        targets = targets_of(policies, provider=named, table=MODELS, order=order, **keys)
        targets._provider.name = "anthropic"
        assert targets.bounds_first_content is (len((await targets.for_request(asking(model="m")))[0]) == 1)
        return list((await targets.for_request(asking(**fields)))[0])

    found = Target("anthropic", "m")
    assert await of(None, None, model="m") == [found, *spares]
    assert await of(None, None) == [Target("anthropic", "default-of-anthropic"), *spares]
    assert await of(None, "anthropic", model="m") == [found]
    assert await of(Policies(fallback="detected"), "anthropic", model="m") == [found, *spares]
    assert await of(Policies(fallback=None), None, model="m") == [found]
    assert await of(None, None, model="openai/gpt-5") == [Target("openai", "gpt-5")], "who names one means that one"
    assert await of(None, None, provider="anthropic", model="m") == [found]
    assert await of(None, None, model="agent:brain") == [Target("agent", "brain")]


async def test_named_targets_come_in_place_of_detected_ones() -> None:
    policies = Policies(fallback=FallbackOptions(targets=(SPARE,)))
    targets = targets_of(policies, provider=None, order=("openai", "gemini"), gemini=Account(api_key="a-key"))
    targets._provider.name = "openai"
    assert list((await targets.for_request(asking(model="m")))[0]) == [Target("openai", "m"), SPARE]
    assert targets.bounds_first_content


def test_fallback_is_options_or_a_word() -> None:
    assert Policies(fallback="detected").fallback == FallbackOptions(detected=True)
    assert Policies(fallback=None).fallback == FallbackOptions(detected=False)
    with pytest.raises(ConfigurationError, match="fallback is"):
        Policies(fallback="anything")  # type: ignore[arg-type]
