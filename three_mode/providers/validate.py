"""Validation of a request against model and provider, before anything is sent."""

from three_mode.errors import ContextLength, UnsupportedParameter
from three_mode.messages import LLMRequest
from three_mode.providers.capabilities import capabilities
from three_mode.providers.needs import missing
from three_mode.providers.profile import Profile
from three_mode.providers.safety import check_provider

_FIELDS = {
    "tools": "tools",
    "vision": "messages",
    "thinking": "reasoning",
    "structured output": "response_format",
}
SLACK = 1.25  # an estimate may be too high by this factor; a call that fits must not be refused


def check(request: LLMRequest, model: str, profile: Profile, tokens: int) -> None:
    """Raises an error for a request that is known to fail; `tokens` is the estimate of the prompt."""
    for what in missing(request, model):
        raise UnsupportedParameter(
            f"{model} cannot do {what}",
            field=_FIELDS[what],
            provider=profile.name,
            model=model,
            hint="choose another model; or describe(...) this one, if the table is wrong",
        )
    if request.prompt is not None and profile.wire != "openai":
        raise UnsupportedParameter(
            f"{profile.name} takes messages, and no bare prompt",
            field="prompt",
            provider=profile.name,
            model=model,
            hint="ask with messages; local models and OpenAI's /completions take a prompt",
        )
    for name in profile.unsupported:
        if getattr(request, name, None) not in (None, (), {}):  # 0 is a value too
            raise UnsupportedParameter(f"{profile.name} has no {name}", field=name, provider=profile.name, model=model)
    if profile.safety:
        check_provider(profile)
    able = capabilities(model)
    if able.context is not None and tokens > able.context * SLACK:
        raise ContextLength(
            f"the prompt is about {tokens} tokens, and {model} takes {able.context}",
            field="messages",
            provider=profile.name,
            model=model,
            hint="shorten the messages, or choose a model with a larger context",
            tokens=tokens,
            room=able.context,
        )
