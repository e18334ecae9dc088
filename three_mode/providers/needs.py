"""Comparison of the needs of a request with the capabilities of a model."""

from three_mode.messages import Image, LLMRequest
from three_mode.providers.capabilities import capabilities


def missing(request: LLMRequest, model: str) -> list[str]:
    """Capabilities that the request needs and the model is known to lack."""
    able = capabilities(model)
    if not able.known:
        return []
    lacks = []
    if request.tools and not able.tools:
        lacks.append("tools")
    if not able.vision and has_images(request):
        lacks.append("vision")
    if request.reasoning is not None and not able.thinking and request.reasoning.effort != "none":
        lacks.append("thinking")
    if request.response_format is not None and request.response_format.json_schema and not able.structured_output:
        lacks.append("structured output")
    return lacks


def has_images(request: LLMRequest) -> bool:
    """Whether any message holds an image."""
    return any(
        isinstance(part, Image)
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    )
