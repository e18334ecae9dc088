"""Messages and replies of Coda's document."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from three_mode import messages
from three_mode.messages import Message, Step, ToolCall, ToolResult, Usage
from three_mode.messages.reply import FinishReason
from three_mode.tools import RunReply, ToolOutcome


class MessageRole(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(kw_only=True)
class LLMMessage:
    """One message of a conversation."""

    role: MessageRole | str  #: who says it
    content: str  #: its text
    function_calls: tuple[ToolCall, ...] = ()  #: calls that the model makes in it
    tool_call_id: str | None = None  #: the call that a message of a tool answers

    def message(self) -> Message:
        """The message of `three_mode`."""
        if self.role == MessageRole.TOOL:
            return Message("tool", (ToolResult(self.tool_call_id or "", self.content),))
        if self.function_calls:
            text = (messages.Text(self.content),) if self.content else ()
            return Message("assistant", (*text, *self.function_calls))
        return Message(MessageRole(self.role).value, self.content)

    @classmethod
    def of(cls, message: Message) -> "LLMMessage":
        """A message of `three_mode`; of several results of tools the texts are joined."""
        calls = tuple(part for part in message.parts if isinstance(part, ToolCall))
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        text = "\n".join(str(result.content) for result in results) if results else message.text
        return cls(
            role=MessageRole(message.role),
            content=text,
            function_calls=calls,
            tool_call_id=results[0].call_id if results else None,
        )


@dataclass(kw_only=True)
class LLMResponse:
    """A whole answer. `_process_response` of a manager may change it."""

    content: str  #: its text
    conversation_id: str  #: the conversation that it belongs to
    provider: str  #: name of the provider in the configuration
    model: str = ""  #: model that answered
    usage: Usage = field(default_factory=Usage)  #: tokens and cost
    finish_reason: FinishReason = "stop"  #: why it ended
    latency: float = 0.0  #: seconds
    response_id: str = ""  #: id of the call in records
    function_calls: tuple[ToolCall, ...] = ()  #: calls that the model made, those that ran included
    function_results: tuple[ToolOutcome, ...] = ()  #: how each call that ran ended
    steps: tuple[Step, ...] = field(default=(), repr=False)  #: attempts, waits, cache hits

    @classmethod
    def of(cls, reply: messages.LLMResponse, conversation_id: str, provider: str) -> "LLMResponse":
        """A reply of `three_mode`, of a conversation and the provider that was asked."""
        outcomes: Sequence[ToolOutcome] = reply.outcomes if isinstance(reply, RunReply) else ()
        return cls(
            content=reply.content,
            conversation_id=conversation_id,
            provider=provider,
            model=reply.model,
            usage=reply.usage,
            finish_reason=reply.finish_reason,
            latency=reply.latency,
            response_id=reply.request_id,
            function_calls=tuple(outcome.call for outcome in outcomes) + reply.tool_calls,
            function_results=tuple(outcomes),
            steps=reply.steps,
        )


@dataclass(kw_only=True, frozen=True)
class LLMStreamChunk:
    """One piece of a streamed answer; the last one has the whole answer and no text."""

    delta: str  #: the next piece of the text
    conversation_id: str  #: the conversation that it belongs to
    response: LLMResponse | None = None  #: the whole answer, in the last chunk


@dataclass(kw_only=True, frozen=True)
class ConversationSnapshot:
    """A conversation that a `ConversationManager` has."""

    conversation_id: str  #: its name
    messages: tuple[LLMMessage, ...] = ()  #: its messages so far
