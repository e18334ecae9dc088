"""Defaults of requests, fitted to a provider and a model: one that they cannot take is left out, never refused."""

from typing import Any

from msgspec import structs

from three_mode.messages import LLMRequest, Reasoning
from three_mode.messages.request_defaults import RequestDefaults
from three_mode.providers.capabilities import capabilities
from three_mode.providers.profile import Profile

_SAMPLING = ("temperature", "top_p")


class FittedDefaults:
    """The defaults that one model of one provider takes."""

    __slots__ = ("_one_of_two", "_values")

    def __init__(self, values: dict[str, Any], one_of_two: bool) -> None:
        self._values = values
        self._one_of_two = one_of_two  # it takes a temperature or a top_p, and with thinking neither

    def applied_to(self, request: LLMRequest) -> LLMRequest:
        """The request with the defaults for what it does not say itself."""
        added = {name: value for name, value in self._values.items() if getattr(request, name) in (None, ())}
        if self._one_of_two:
            thinks = _thinks(request.reasoning or added.get("reasoning"))
            if thinks or request.top_p is not None:
                added.pop("temperature", None)
            if thinks or request.temperature is not None or "temperature" in added:
                added.pop("top_p", None)
        return structs.replace(request, **added) if added else request


NOT_FITTED = FittedDefaults({}, False)  # of a target that nobody has asked for yet


def fitted(defaults: RequestDefaults, profile: Profile, model: str) -> FittedDefaults | None:
    """The defaults that a model can take; None where that is nothing."""
    values = defaults.said()
    if not values:
        return None
    able = capabilities(model)
    for name in profile.unsupported:
        values.pop(name, None)
    if not able.sampling:
        _drop(values, *_SAMPLING)
    if not able.thinking:
        values.pop("reasoning", None)
    if profile.wire == "claude-cli":
        _drop(values, *_SAMPLING, "seed", "stop", "max_tokens")
    elif profile.wire == "anthropic":
        values.pop("seed", None)
        if values.get("temperature", 0) > 1:
            values.pop("temperature")
    asked = values.get("reasoning")
    if isinstance(asked, Reasoning) and asked.budget_tokens is not None and not _counts_thinking(profile):
        if asked.effort is None:
            values.pop("reasoning")
        else:
            values["reasoning"] = Reasoning(effort=asked.effort)
    return FittedDefaults(values, profile.wire == "anthropic") if values else None


def _counts_thinking(profile: Profile) -> bool:
    """Whether a budget of tokens to think can be sent. An agent, which has no URL, judges for itself."""
    qwen = profile.thinking_switch == "qwen"
    return profile.wire in ("anthropic", "gemini") or qwen or (profile.wire == "openai" and not profile.base_url)


def _thinks(asked: Reasoning | None) -> bool:
    return asked is not None and asked.effort != "none" and asked.budget_tokens != 0


def _drop(values: dict[str, Any], *names: str) -> None:
    for name in names:
        values.pop(name, None)
