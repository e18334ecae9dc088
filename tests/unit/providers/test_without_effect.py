"""Fields that change no answer go to the providers that know them, and no other provider refuses them."""

import json
from typing import Any

import pytest

from three_mode import LLMRequest
from three_mode.messages import Tool
from three_mode.modes import CommunicationMode
from three_mode.providers import codec_of, profile_of
from three_mode.providers.without_effect import WITHOUT_EFFECT, knows
from three_mode.serve.ignored import ignored, sent

USER = [{"role": "user", "content": "Hello!"}]
FIELDS = dict.fromkeys(sorted(WITHOUT_EFFECT), "x")


def body(provider: str, **extra: Any) -> dict[str, Any]:
    profile = profile_of(provider)
    request = LLMRequest(messages=USER, tools=[Tool("add")], extra=extra)
    found: dict[str, Any] = json.loads(codec_of(profile).encode(request, "some-model", stream=False).body)
    return found


@pytest.mark.parametrize("provider", ["openai", "deepseek", "anthropic", "gemini", "ollama"])
def test_a_provider_gets_what_it_knows_and_the_rest_is_left_out(provider: str) -> None:
    found = body(provider, **FIELDS, top_k=3)
    wire = profile_of(provider).wire
    assert FIELDS.keys() & found.keys() == {name for name in FIELDS if knows(wire, name, "x")}
    assert found["top_k"] == 3, "what may change the answer is the provider's to judge"


def test_anthropic_has_words_of_its_own_for_two_of_them() -> None:
    assert body("anthropic", service_tier="standard_only")["service_tier"] == "standard_only"
    assert "service_tier" not in body("anthropic", service_tier="flex")
    choice = body("anthropic", parallel_tool_calls=False)["tool_choice"]
    assert choice == {"type": "auto", "disable_parallel_tool_use": True}


@pytest.mark.parametrize(
    ("mode", "provider", "unused"),
    [
        (CommunicationMode.AI_PC, "local", ["user", "prompt_cache_key", "service_tier", "text.verbosity"]),
        (CommunicationMode.AI_AI, "agent", ["user", "prompt_cache_key", "service_tier", "text.verbosity"]),
        (CommunicationMode.HUMAN_AI, "openai", []),
        (CommunicationMode.HUMAN_AI, "custom", ["prompt_cache_key"]),
        (CommunicationMode.HUMAN_AI, "anthropic", ["user", "prompt_cache_key", "text.verbosity"]),
        (CommunicationMode.HUMAN_AI, "gemini", ["user", "prompt_cache_key", "service_tier", "text.verbosity"]),
    ],
)
def test_what_did_nothing_is_told(mode: CommunicationMode, provider: str, unused: list[str]) -> None:
    given = sent({"model": "m", "user": "ann", "prompt_cache_key": "k", "service_tier": "auto", "store": None})
    assert list(ignored({**given, "text.verbosity": "low"}, mode, provider)) == unused
