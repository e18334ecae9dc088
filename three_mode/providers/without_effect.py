"""Fields of a request that change no answer: whoever does not know one is spared it, and nobody refuses it. Pure."""

from typing import Any

from three_mode.providers.profile import Wire

#: Fields that say who asks, how it is billed or kept, or how fast it may come.
WITHOUT_EFFECT = frozenset(
    {
        "max_tool_calls",  # of tools that a provider runs itself
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)
_OF_OPENAI = WITHOUT_EFFECT - {"max_tool_calls", "metadata", "prompt_cache_options"}
_TIERS_OF_ANTHROPIC = ("auto", "standard_only")


def knows(wire: Wire, name: str, value: Any) -> bool:
    """Whether a provider of this wire format takes one of these fields."""
    if wire == "openai":
        return name in _OF_OPENAI
    if name == "metadata":  # Anthropic's says who asks, and nothing else
        return wire == "anthropic" and isinstance(value, dict) and set(value) == {"user_id"}
    return wire == "anthropic" and name == "service_tier" and value in _TIERS_OF_ANTHROPIC


def is_spared(wire: Wire, name: str, value: Any) -> bool:
    """Whether a field of `extra` is left out of a body, since its provider would refuse what changes nothing."""
    return name in WITHOUT_EFFECT and not knows(wire, name, value)
