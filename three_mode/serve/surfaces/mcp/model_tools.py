"""Models as one tool: `ask_model`."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from three_mode.errors import ThreeModeError
from three_mode.mcp.offered import OfferedTool, TellProgress, ToolAnswer, UnknownTool
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.serve.backend import ModelInfo
from three_mode.serve.faults import in_words

NAME = "ask_model"
_WORDS = "Asks a language model, which knows nothing but what the prompt says."
_KINDS: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "prompt": (str,),
    "system": (str,),
    "max_tokens": (int,),
    "temperature": (int, float),
}


class ModelTools:
    """Source of a tool that asks any of the models that clients may name."""

    def __init__(
        self,
        models: Callable[[], Awaitable[Sequence[ModelInfo]]],
        ask: Callable[[LLMRequest], Awaitable[LLMResponse]],
    ) -> None:
        """`ask` judges the name of the model."""
        self._models, self._ask = models, ask

    async def tools(self) -> Sequence[OfferedTool]:
        models = [model.id for model in await self._models()]
        if not models:
            return []
        schema = {
            "type": "object",
            "properties": {
                "model": {"type": "string", "enum": models, "description": "the model to ask"},
                "prompt": {"type": "string", "description": "what to ask"},
                "system": {"type": "string", "description": "how it is to answer"},
                "max_tokens": {"type": "integer", "minimum": 1},
                "temperature": {"type": "number", "minimum": 0},
            },
            "required": ["model", "prompt"],
            "additionalProperties": False,
        }
        return [OfferedTool(NAME, _WORDS, schema)]

    async def call(
        self, name: str, arguments: dict[str, Any], within: float, progress: TellProgress | None = None
    ) -> ToolAnswer:
        if name != NAME:
            raise UnknownTool(name)
        wrong = _wrong(arguments)
        if wrong is not None:
            return ToolAnswer.failed(wrong)
        messages = [{"role": "user", "content": arguments["prompt"]}]
        if arguments.get("system"):
            messages.insert(0, {"role": "system", "content": arguments["system"]})
        options = {name: arguments[name] for name in ("max_tokens", "temperature") if name in arguments}
        try:
            request = LLMRequest(model=arguments["model"], messages=messages, within=within, **options)
            reply = await self._ask(request)
        except ThreeModeError as error:
            return ToolAnswer.failed(f"{type(error).__name__}: {in_words(error)}")
        return ToolAnswer([{"type": "text", "text": reply.content}])

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None  # nobody says when models come and go: a client reads the list anew


def _wrong(arguments: dict[str, Any]) -> str | None:
    """What is wrong with the arguments; None if nothing is."""
    unknown = [name for name in arguments if name not in _KINDS]
    if unknown:
        return f"{NAME} has no argument {unknown[0][:100]!r}"
    for name, kinds in _KINDS.items():
        value = arguments.get(name)
        if value is None:
            if name in ("model", "prompt"):
                return f"the argument {name!r} is missing"
            arguments.pop(name, None)
        elif isinstance(value, bool) or not isinstance(value, kinds) or value in (math.inf, -math.inf):
            return f"the argument {name!r} is of another type"
    return None
