"""Capabilities of models, by family.

A model that the table does not know counts as capable of everything: the provider knows better than a table that is out
of date. `describe(...)` adds or corrects a family.
"""

import re
from functools import lru_cache

from msgspec import Struct


class Capabilities(Struct, frozen=True, kw_only=True):
    """Capabilities of one family of models."""

    context: int | None = None  #: most tokens of prompt and answer together; None: not known
    max_output: int | None = None  #: most tokens of an answer; None: not known
    tools: bool = True  #: whether it can call tools
    vision: bool = True  #: whether it reads images
    thinking: bool = True  #: whether it can think before it answers
    caching: bool = True  #: whether the provider can cache its prompts
    structured_output: bool = True  #: whether it can be held to a JSON Schema
    sampling: bool = True  #: whether it takes temperature and top_p
    tokens_per_char: float = 0.25  #: tokens of one ASCII character, for estimates
    known: bool = True  #: False: the table does not know the model


UNKNOWN = Capabilities(known=False)

# Start of a model's name, without the vendor's prefix -> its capabilities. The longest start that matches counts.
_TABLE: dict[str, Capabilities] = {
    "gpt-5": Capabilities(context=400_000, max_output=128_000, sampling=False),
    "gpt-5-chat": Capabilities(context=128_000, max_output=16_384, thinking=False),
    "gpt-4.1": Capabilities(context=1_047_576, max_output=32_768, thinking=False),
    "gpt-4o": Capabilities(context=128_000, max_output=16_384, thinking=False),
    "gpt-4-turbo": Capabilities(
        context=128_000, max_output=4_096, thinking=False, caching=False, structured_output=False
    ),
    "gpt-4": Capabilities(
        context=8_192, max_output=8_192, vision=False, thinking=False, caching=False, structured_output=False
    ),
    "gpt-3.5": Capabilities(
        context=16_385, max_output=4_096, vision=False, thinking=False, caching=False, structured_output=False
    ),
    "gpt-oss": Capabilities(context=131_072, max_output=131_072, vision=False, caching=False),
    "o1-mini": Capabilities(
        context=128_000, max_output=65_536, tools=False, vision=False, structured_output=False, sampling=False
    ),
    "o1": Capabilities(context=200_000, max_output=100_000, sampling=False),
    "o3": Capabilities(context=200_000, max_output=100_000, sampling=False),
    "o3-mini": Capabilities(context=200_000, max_output=100_000, vision=False, sampling=False),
    "o4-mini": Capabilities(context=200_000, max_output=100_000, sampling=False),
    "claude-3-haiku": Capabilities(context=200_000, max_output=4_096, thinking=False, structured_output=False),
    "claude-3-5": Capabilities(context=200_000, max_output=8_192, thinking=False, structured_output=False),
    "claude-3-7": Capabilities(context=200_000, max_output=64_000, structured_output=False),
    "claude-opus-4": Capabilities(context=200_000, max_output=32_000),
    "claude-opus-4-5": Capabilities(context=200_000, max_output=64_000),
    "claude-opus-4.5": Capabilities(context=200_000, max_output=64_000),
    "claude-sonnet-4": Capabilities(context=200_000, max_output=64_000),
    "claude-haiku-4": Capabilities(context=200_000, max_output=64_000),
    "claude": Capabilities(context=200_000),
    "gemini-1.5": Capabilities(context=1_048_576, max_output=8_192, thinking=False),
    "gemini-2.0": Capabilities(context=1_048_576, max_output=8_192, thinking=False),
    "gemini-2.5": Capabilities(context=1_048_576, max_output=65_536),
    "gemini-3": Capabilities(context=1_048_576, max_output=65_536),
    "deepseek-chat": Capabilities(context=128_000, max_output=8_192, vision=False, structured_output=False),
    "deepseek-reasoner": Capabilities(context=128_000, max_output=65_536, vision=False, structured_output=False),
    "deepseek": Capabilities(context=128_000, vision=False),
    "qwen3-vl": Capabilities(context=262_144, max_output=32_768, tokens_per_char=0.3),
    "qwen3": Capabilities(context=262_144, max_output=65_536, vision=False, tokens_per_char=0.3),
    "qwen-vl": Capabilities(context=131_072, max_output=8_192, tokens_per_char=0.3),
    "qwen-max": Capabilities(context=262_144, max_output=65_536, vision=False, tokens_per_char=0.3),
    "qwen-plus": Capabilities(context=1_000_000, max_output=32_768, vision=False, tokens_per_char=0.3),
    "qwen": Capabilities(context=131_072, vision=False, tokens_per_char=0.3),
    "llama-4": Capabilities(context=1_048_576, thinking=False),
    "llama-3.2-90b": Capabilities(context=131_072, thinking=False),
    "llama-3.2-11b": Capabilities(context=131_072, thinking=False),
    "llama-3": Capabilities(context=131_072, vision=False, thinking=False),
    "llama-2": Capabilities(context=4_096, tools=False, vision=False, thinking=False, structured_output=False),
}
_PLAIN = re.compile(r"^(?:.*/)?(?:models/)?(?:meta-)?", re.IGNORECASE)


@lru_cache(maxsize=1024)
def capabilities(model: str) -> Capabilities:
    """Capabilities of a model. Vendor prefix and case do not matter: `openai/gpt-4o-mini` is `gpt-4o-mini`."""
    name = _normal(model)
    best = ""
    for start in _TABLE:
        if len(start) > len(best) and name.startswith(start):
            best = start
    return _TABLE[best] if best else UNKNOWN


def describe(start: str, what: Capabilities) -> None:
    """Sets the capabilities of all models whose name begins with `start`."""
    _TABLE[_normal(start)] = what
    capabilities.cache_clear()


def _normal(model: str) -> str:
    name = _PLAIN.sub("", model.lower(), count=1)
    return re.sub(r"^llama(\d)", r"llama-\1", name)
