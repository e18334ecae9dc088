"""Targets of a request: what its model's name says, the connection's provider, routes and fallback."""

import pytest

from tests.support.calls.parts import accounts_of, asking, settings_of
from three_mode.calls.targets import ProviderChoice, Targets
from three_mode.channels.channel import Endpoint
from three_mode.errors import InvalidRequest, ModeConflict
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
) -> Targets:
    policies, settings = policies or Policies(), settings_of()
    accounts = accounts_of(settings)

    def endpoint(name: str) -> Endpoint:
        raise AssertionError("nobody is asked")

    choice = ProviderChoice(provider, ("openai",), accounts, endpoint)
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
