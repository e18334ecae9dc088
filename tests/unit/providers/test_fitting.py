"""Defaults of requests go where they can be taken, and a request's own value wins."""

from typing import Any

import pytest

from three_mode.errors import ConfigurationError
from three_mode.messages import LLMRequest, Reasoning, RequestDefaults
from three_mode.providers import Profile, profile_of, providers
from three_mode.providers.fitting import fitted

ALL = RequestDefaults(temperature=0.5, top_p=0.9, max_tokens=9, stop=("x",), seed=1, reasoning="low")


def added(defaults: RequestDefaults, provider: str, model: str = "some-model", **request: Any) -> dict[str, Any]:
    """What the defaults add to a request to a model."""
    profile = Profile(name="agent", base_url="") if provider == "agent" else profile_of(provider)
    asked = LLMRequest(messages=[{"role": "user", "content": "Hello!"}], **request)
    found = fitted(defaults, profile, model)
    sent = asked if found is None else found.applied_to(asked)
    return {
        name: value
        for name in RequestDefaults.__struct_fields__
        if (value := getattr(sent, name)) not in (None, ()) and value != getattr(asked, name)
    }


def test_all_of_them_where_all_can_be_taken() -> None:
    for provider in ("agent", "qwen", "deepseek", "v98", "gemini", "ollama"):
        assert added(ALL, provider) == ALL.said()


def test_the_value_of_the_request_wins() -> None:
    own = added(ALL, "v98", temperature=0, max_tokens=1, stop=["y"])
    assert own == {"top_p": 0.9, "seed": 1, "reasoning": Reasoning(effort="low")}


@pytest.mark.parametrize("model", ["gpt-5", "openai/gpt-5-mini", "o3-mini", "o1"])
def test_a_model_that_takes_no_temperature_gets_none(model: str) -> None:
    assert {"temperature", "top_p"}.isdisjoint(added(ALL, "openai", model))
    assert added(RequestDefaults(temperature=0.5), "openai", "gpt-5-chat-latest") == {"temperature": 0.5}


def test_a_model_that_does_not_think_is_not_asked_to() -> None:
    assert "reasoning" not in added(ALL, "openai", "gpt-4o")


def test_anthropic_takes_a_temperature_or_a_top_p_and_neither_while_it_thinks() -> None:
    both = RequestDefaults(temperature=0.5, top_p=0.9)
    assert added(both, "anthropic") == {"temperature": 0.5}
    assert added(both, "anthropic", top_p=0.1) == {}
    assert added(both, "anthropic", temperature=0.1) == {}
    assert added(both, "anthropic", reasoning="low") == {}
    assert added(both, "anthropic", reasoning="none") == {"temperature": 0.5}
    assert added(ALL, "anthropic") == {"max_tokens": 9, "stop": ("x",), "reasoning": Reasoning(effort="low")}
    assert added(RequestDefaults(temperature=1.5), "anthropic") == {}


def test_the_command_takes_an_effort_alone() -> None:
    assert added(ALL, "claude-cli") == {"reasoning": Reasoning(effort="low")}


def test_a_budget_of_thinking_goes_where_it_is_counted() -> None:
    budget = RequestDefaults(reasoning={"effort": "low", "budget_tokens": 100})
    for provider in set(providers()) & {"openai", "ollama", "deepseek", "claude-cli"}:
        assert added(budget, provider) == {"reasoning": Reasoning(effort="low")}
        assert added(RequestDefaults(reasoning={"budget_tokens": 100}), provider) == {}
    for provider in ("anthropic", "qwen", "gemini", "agent"):
        assert added(budget, provider) == budget.said()


def test_a_field_that_the_profile_says_it_lacks() -> None:
    profile = Profile(name="acme", base_url="http://x.test", unsupported=frozenset({"seed", "stop"}))
    found = fitted(RequestDefaults(seed=1, stop=("x",)), profile, "m")
    assert found is None


def test_one_over_another() -> None:
    assert RequestDefaults(temperature=0).over(ALL).said() == ALL.said() | {"temperature": 0}
    assert RequestDefaults(temperature=0).over(RequestDefaults()) == RequestDefaults(temperature=0)


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 2}, {"max_tokens": 0}, {"stop": [""]}, {"seed": "x"}, {"reasoning": 3}]
)
def test_a_default_that_is_wrong_is_said_when_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="a default of requests"):
        RequestDefaults(**wrong)
