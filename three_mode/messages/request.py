"""What is asked of a model: one value for every mode."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from three_mode.messages import checks
from three_mode.messages.message import Message
from three_mode.messages.options import CacheHints, Reasoning, ResponseFormat, Tool
from three_mode.modes import CommunicationMode

Plain = Mapping[str, Any]


class LLMRequest(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """`model` and `mode` may be left to the connection. Messages and tools may be plain dicts; they are checked here.

    `tool_choice` is "auto", "none", "required", or the name of one tool. `within` is the deadline in seconds.
    `metadata` is yours and comes back in records; `extra` goes to the provider as it is, never silently dropped.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    mode: CommunicationMode | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    response_format: ResponseFormat | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning: Reasoning | None = None
    cache: CacheHints | None = None
    within: float | None = None
    metadata: dict[str, Any] = {}
    extra: dict[str, Any] = {}

    if TYPE_CHECKING:
        # A request holds the types above; its constructor also takes the plain forms that `__post_init__` turns into them.
        def __init__(
            self,
            *,
            messages: Sequence[Message | Plain],
            model: str | None = None,
            mode: CommunicationMode | str | None = None,
            tools: Sequence[Tool | Plain] = (),
            tool_choice: str | None = None,
            response_format: ResponseFormat | Plain | str | type | None = None,
            temperature: float | None = None,
            top_p: float | None = None,
            max_tokens: int | None = None,
            stop: Sequence[str] = (),
            seed: int | None = None,
            reasoning: Reasoning | Plain | str | None = None,
            cache: CacheHints | Plain | None = None,
            within: float | None = None,
            metadata: dict[str, Any] = ...,
            extra: dict[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        force_setattr(self, "messages", checks.messages(self.messages))
        force_setattr(self, "tools", checks.tools(self.tools))
        force_setattr(self, "stop", checks.stop(self.stop))
        checks.model(self.model)
        if self.mode is not None:
            force_setattr(self, "mode", checks.mode(self.mode))
        for name in checks.OPTIONS:
            if getattr(self, name) is not None:
                force_setattr(self, name, checks.option(getattr(self, name), name))
        checks.check_numbers(self)
        checks.check_tool_choice(self)
        checks.check_json(self.metadata, "metadata")
        checks.check_json(self.extra, "extra")

    @property
    def system(self) -> str:
        """The text of all system messages, joined by blank lines."""
        return "\n\n".join(message.text for message in self.messages if message.role == "system")
