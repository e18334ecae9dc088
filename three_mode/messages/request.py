"""Request to a model: one value for every mode."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from three_mode.messages import checks
from three_mode.messages.checks import MESSAGES
from three_mode.messages.message import Message
from three_mode.messages.options import CacheHints, Reasoning, ResponseFormat, Tool
from three_mode.messages.reply import LLMResponse
from three_mode.modes import CommunicationMode

Plain = Mapping[str, Any]
_ENDLESS = float("inf")


class LLMRequest(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A request to any model. Messages and tools may be plain dicts; they are checked when the request is made.

    None or an empty tuple leaves the choice to the connection, and then to the provider.
    """

    #: the conversation so far, oldest first; `{"role": ..., "content": ...}` will do, and a reply as it came
    messages: tuple[Message, ...] = ()
    #: a bare text, or tokens of the model, that it continues without a chat template: in place of `messages`, which
    #: then are that text as one message of the user, for agents that only read those
    prompt: str | tuple[int, ...] | None = None
    #: a provider's model, `PROVIDER/MODEL`, `agent:NAME`, `tiny`, `gguf:PATH`, `hf:PATH` or a catalogued name
    model: str | None = None
    #: the provider that answers, by name or URL; None: the one that the model names, or the connection's
    provider: str | None = None
    mode: CommunicationMode | None = None  #: how to reach the model; None: as its address implies
    tools: tuple[Tool, ...] = ()  #: tools that the model may call
    tool_choice: str | None = None  #: "auto", "none", "required", or the name of the one tool to call
    response_format: ResponseFormat | None = None  #: the shape of a JSON answer; a type or "json" will do
    temperature: float | None = None  #: randomness of the choice of tokens; 0 is greedy
    top_p: float | None = None  #: share of the probability to choose from, above 0 and at most 1
    max_tokens: int | None = None  #: most tokens of the answer
    stop: tuple[str, ...] = ()  #: texts that end the answer
    seed: int | None = None  #: seed of the choice of tokens, where the model takes one
    reasoning: Reasoning | None = None  #: how much the model may think; "low" and the like will do
    cache: CacheHints | None = None  #: hints for the provider's prompt cache, and for the cache of replies
    within: float | None = None  #: deadline of the whole call in seconds; None: that of the connection
    metadata: dict[str, Any] = {}  #: values of the program; they appear in records and never go to a provider
    #: fields that go to the provider as they are; none is dropped silently, but for those that change no answer
    #: (`user`, `store`, `service_tier`...), which whoever does not know them is spared
    extra: dict[str, Any] = {}

    if TYPE_CHECKING:
        # A request holds the types above; its constructor also takes the plain forms that `__post_init__` converts.
        def __init__(
            self,
            *,
            messages: Sequence[Message | LLMResponse | Plain] = ...,
            prompt: str | Sequence[int] | None = None,
            model: str | None = None,
            provider: str | None = None,
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
        """Checks the fields that are set, and those alone: one request is made at every hop between processes."""
        messages = self.messages
        if self.prompt is not None:
            checks.take_prompt(self)
        elif type(messages) is not tuple or set(map(type, messages)) != MESSAGES:
            force_setattr(self, "messages", checks.messages(messages))
        if self.model is not None:
            checks.model(self.model)
        if self.provider is not None:
            checks.provider(self.provider)
        if self.mode is not None and type(self.mode) is not CommunicationMode:
            force_setattr(self, "mode", checks.mode(self.mode))
        within = self.within
        if within is not None and not (type(within) is float and 0.0 < within < _ENDLESS):
            checks.check_within(self)
        if (
            self.tools != ()
            or self.stop != ()
            or self.response_format is not None
            or self.reasoning is not None
            or self.cache is not None
            or self.temperature is not None
            or self.top_p is not None
            or self.max_tokens is not None
            or self.seed is not None
            or self.tool_choice is not None
            or type(self.metadata) is not dict
            or self.metadata
            or type(self.extra) is not dict
            or self.extra
        ):
            self._check_rest()

    def _check_rest(self) -> None:
        if self.tools != ():
            force_setattr(self, "tools", checks.tools(self.tools))
        if self.stop != ():
            force_setattr(self, "stop", checks.stop(self.stop))
        if self.response_format is not None:
            force_setattr(self, "response_format", checks.option(self.response_format, "response_format"))
        if self.reasoning is not None:
            force_setattr(self, "reasoning", checks.option(self.reasoning, "reasoning"))
        if self.cache is not None:
            force_setattr(self, "cache", checks.option(self.cache, "cache"))
        checks.check_numbers(self)
        if self.tool_choice is not None:
            checks.check_tool_choice(self.tool_choice, self.tools)
        if self.metadata != {}:
            checks.check_json(self.metadata, "metadata")
        if self.extra != {}:
            checks.check_json(self.extra, "extra")

    def addressed(self, model: str | None, within: float | None) -> "LLMRequest":
        """Copy for another model, in the mode that its address implies. Checked fields are not checked again."""
        copied: LLMRequest = self.__copy__()  # type: ignore[attr-defined]  # `copy.copy` looks for it at every call
        force_setattr(copied, "model", model)
        if copied.provider is not None:
            force_setattr(copied, "provider", None)
        force_setattr(copied, "mode", None)
        force_setattr(copied, "within", within)
        return copied

    @property
    def system(self) -> str:
        """The text of all system messages, joined by blank lines."""
        return "\n\n".join(message.text for message in self.messages if message.role == "system")
