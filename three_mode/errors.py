"""Errors of three-mode, in one tree.

    ThreeModeError                  message, hint, retryable, retry_after
    ├── ConfigurationError          a missing key, an unknown provider or option, a bad config file
    │   └── MissingExtra            an optional part is not installed; names the extra that brings it
    ├── NotLeading                  leader; this orchestrator of a cluster stands by, and another one leads
    ├── ModeUnavailable             the mode exists, but not here: no bus, no network, no model
    ├── DeadlineExceeded            stage: connect, first token, idle, total... (also a TimeoutError)
    ├── Overloaded                  a bounded queue is full; the work did not begin
    ├── LLMError                    provider, model, status, code, request_id
    │   ├── InvalidRequest          field; refused before anything was sent, or by the provider (also a ValueError)
    │   │   ├── ModeConflict        the mode of the request contradicts its address
    │   │   ├── ContextLength       tokens, room; the prompt does not fit the model
    │   │   └── UnsupportedParameter  this model cannot do that
    │   ├── AuthenticationError     the key is missing, wrong or revoked
    │   ├── PermissionDenied        the key is good, but not for this
    │   ├── NotFound                no such model or path at the provider
    │   ├── ContentFilter           refused by a safety system
    │   ├── RateLimit               too fast: wait `retry_after`, then again
    │   ├── QuotaExhausted          no money or quota left: fail over, never retry
    │   ├── ProviderOverloaded      the provider is busy (also an Overloaded)
    │   ├── ServerError             the provider failed
    │   ├── BadReply                the reply does not follow the provider's protocol
    │   │   ├── ReplyTooLarge       the reply has more bytes than the connection allows
    │   │   └── SchemaMismatch      path, keyword; the answer does not fit the JSON Schema that it was asked in
    │   ├── ConnectionFailed        no connection, or it broke before an answer
    │   ├── StreamInterrupted       partial; the stream broke after content went out
    │   ├── CircuitOpen             not tried: this provider failed too often lately
    │   ├── BudgetExceeded          not tried: the call would exceed a budget
    │   ├── BatchCancelled          its batch was cancelled before it was answered
    │   ├── BatchInterrupted        job, candidates; nobody knows whether the rest of a batch was submitted
    │   └── AllProvidersFailed      causes
    ├── ConversationError           conversation
    │   ├── NoSuchConversation      no conversation of that name is in the file
    │   ├── ConversationBusy        somebody else talks in it, or writes to its file (also an Overloaded)
    │   ├── TurnCutShort            a crash cut its last turn: resume it or take it back
    │   └── ConversationFileError   the file is damaged, of another program, or of a newer version
    └── AgentError                  agent, handler
        ├── NoSuchAgent             no agent, handler or role of that name
        ├── BadCall                 argument; the call does not fit the handler's type hints
        ├── HandlerFailed           the handler raised; carries its traceback
        ├── BadResult               the handler returned a value that cannot be sent
        ├── PeerLost                the process or agent died, or left, before it answered
        ├── CallCycle               the call would wait for an agent that waits for this one
        └── StateNotKept            the state of an agent could not be kept, or not be restored

`retryable` says whether the same call may succeed when tried again. `retry_after` is the wait before it in seconds,
where the provider named one. `hint` says what to do. Every error crosses a process boundary and comes back as the same
class.
"""

import warnings
from dataclasses import dataclass, field
from typing import Protocol, dataclass_transform

__all__ = [
    "AgentError",
    "AllProvidersFailed",
    "AuthenticationError",
    "BadCall",
    "BadReply",
    "BadResult",
    "BatchCancelled",
    "BatchInterrupted",
    "BudgetExceeded",
    "CallCycle",
    "CircuitOpen",
    "ConfigurationError",
    "ConnectionFailed",
    "ContentFilter",
    "ContextLength",
    "ConversationBusy",
    "ConversationError",
    "ConversationFileError",
    "DeadlineExceeded",
    "HandlerFailed",
    "InvalidRequest",
    "LLMError",
    "MissingExtra",
    "ModeConflict",
    "ModeUnavailable",
    "NoSuchAgent",
    "NoSuchConversation",
    "NotFound",
    "NotLeading",
    "Overloaded",
    "PeerLost",
    "PermissionDenied",
    "ProviderOverloaded",
    "QuotaExhausted",
    "RateLimit",
    "ReplyTooLarge",
    "SchemaMismatch",
    "ServerError",
    "StateNotKept",
    "StreamInterrupted",
    "ThreeModeError",
    "TurnCutShort",
    "UnsupportedParameter",
]


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(field,))
@dataclass(eq=False, repr=False)
class ThreeModeError(Exception):
    """Root of all errors. A subclass declares its fields as a dataclass does; all but the message are keywords."""

    message: str  #: what happened
    hint: str | None = field(default=None, kw_only=True)  #: what to do about it
    retryable: bool = field(default=False, kw_only=True)  #: whether the same call may succeed later
    retry_after: float | None = field(default=None, kw_only=True)  #: seconds to wait before that; None: not known

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "__annotations__" in vars(cls) or len(cls.__bases__) > 1:  # else its fields are those of its one base
            dataclass(eq=False, repr=False, kw_only=True)(cls)

    def __post_init__(self) -> None:
        self.args = (self.message,)  # so that pickling and copying, which call the class with `args`, work

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigurationError(ThreeModeError):
    """Settings are wrong: a missing key, an unknown provider or option, a bad config file."""


class MissingExtra(ConfigurationError):
    """An optional part of three-mode is not installed; `extra` names the extra that brings it."""

    extra: str | None = None

    @classmethod
    def of(cls, what: str, extra: str) -> "MissingExtra":
        """Error for the missing package `what`, which an extra of three-mode installs."""
        return cls(f"{what} is not installed", hint=f"pip install 'three-mode[{extra}]'", extra=extra)


class NotLeading(ThreeModeError):
    """This orchestrator of a cluster stands by: another one leads, or none does yet."""

    leader: str = ""
    """Node that leads; empty where none does."""


class ModeUnavailable(ThreeModeError):
    """The mode exists, but is not available here; `hint` says what to do about it."""


class DeadlineExceeded(ThreeModeError, TimeoutError):
    """Time ran out; `stage` says where: connect, pool, write, first token, idle, load, queue, start, leading, handler,
    batch, total. "batch": its provider did not answer a request of a batch in its time.

    `provider` and `model` are set for a call to a model.
    """

    retryable: bool = True
    stage: str = "total"
    provider: str | None = None
    model: str | None = None


class Overloaded(ThreeModeError):
    """A bounded queue is full; the work did not begin."""

    retryable: bool = True


class LLMError(ThreeModeError):
    """Root of the errors of calls to models."""

    provider: str | None = None  #: the provider that was asked
    model: str | None = None  #: the model that was asked
    status: int | None = None  #: HTTP status of the provider's answer
    code: str | None = None  #: the provider's own word for the error
    request_id: str | None = None  #: the provider's id of the call, to quote to its support


class InvalidRequest(LLMError, ValueError):
    """The request is wrong; `field` names the place, as in `messages[1].content[0].url`."""

    field: str | None = None


class ModeConflict(InvalidRequest):
    """The mode of the request contradicts its address."""


class ContextLength(InvalidRequest):
    """The prompt, with the tokens asked for, does not fit the model's context."""

    tokens: int | None = None  #: tokens of the prompt, as far as whoever refused it says
    room: int | None = None  #: most tokens that a prompt may have, as far as that is said


class UnsupportedParameter(InvalidRequest):
    """The model or provider does not support the field."""


class AuthenticationError(LLMError):
    """The key is missing, wrong or revoked."""


class PermissionDenied(LLMError):
    """The key is valid, but does not allow this call."""


class NotFound(LLMError):
    """No such model, or no such path at this base URL."""


class ContentFilter(LLMError):
    """A safety system refused the prompt or the answer."""


class RateLimit(LLMError):
    """Too many calls: the same call works again after `retry_after` seconds."""

    retryable: bool = True


class QuotaExhausted(LLMError):
    """No money or quota is left at this provider; a call to another provider may succeed."""


class ProviderOverloaded(LLMError, Overloaded):
    """The provider is busy."""

    retryable: bool = True


class ServerError(LLMError):
    """The provider failed."""

    retryable: bool = True


class BadReply(LLMError):
    """The reply does not follow the provider's protocol."""

    retryable: bool = True


class ReplyTooLarge(BadReply):
    """The reply has more bytes than `ConnectionOptions.reply_bytes` allows; the rest of it was not read."""

    retryable: bool = False


class SchemaMismatch(BadReply):
    """The answer of a local model, or the arguments of a call in it, do not fit the JSON Schema that they were asked
    in: a keyword of it that no grammar holds. `retryable` where another try has another chance."""

    retryable: bool = False
    path: str = "$"  #: the place in the answer, as in `$.orders[2].price`
    keyword: str = ""  #: the keyword of the schema that does not fit there


class ConnectionFailed(LLMError):
    """No connection could be made, or it broke before any content came."""

    retryable: bool = True


class PartialReply(Protocol):
    """Part of a reply that arrived: an `LLMResponse`, described here because messages import errors."""

    @property
    def content(self) -> str:
        """The text so far."""

    @property
    def thinking(self) -> str:
        """The thinking so far."""

    @property
    def model(self) -> str:
        """The model that answered."""

    @property
    def provider(self) -> str:
        """The provider that answered."""

    @property
    def request_id(self) -> str:
        """The provider's id of the call."""


class StreamInterrupted(LLMError):
    """The stream broke after content went out; `partial` holds that content. The call is not tried elsewhere: an answer
    never mixes two models.
    """

    partial: PartialReply | None = None


class CircuitOpen(LLMError):
    """The call was not tried: this provider and model failed too often lately."""

    retryable: bool = True


class BudgetExceeded(LLMError):
    """The call was not tried: it would exceed a budget."""


class BatchCancelled(LLMError):
    """The request was not answered: its batch was cancelled before."""


class BatchInterrupted(LLMError):
    """A batch was submitted in part, or its answer was lost, so that nobody knows whether it was submitted.

    It is not submitted again, because that might be paid twice.
    """

    job: str | None = None  #: id of the job of what certainly was submitted; None: nothing
    candidates: tuple[str, ...] = ()  #: ids of jobs that may be what was lost, newest first


class AllProvidersFailed(LLMError):
    """Every provider of the list failed; `causes` holds their errors, in the order of the tries."""

    causes: tuple[ThreeModeError, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.retryable = self.retryable or any(cause.retryable for cause in self.causes)


class ConversationError(ThreeModeError):
    """Root of the errors of conversations that are kept."""

    conversation: str | None = None  #: name of the conversation


class NoSuchConversation(ConversationError):
    """No conversation of that name is in the file."""


class ConversationBusy(ConversationError, Overloaded):
    """Another turn of this conversation is on its way, or another process writes to the file; nothing was said."""

    retryable: bool = True


class TurnCutShort(ConversationError):
    """The end of a process cut the last turn of this conversation: nobody answered it."""


class ConversationFileError(ConversationError):
    """The file is damaged, of another program, of a newer version, or cannot be written.

    `partial` holds an answer that came and could not be kept.
    """

    partial: PartialReply | None = None


class AgentError(ThreeModeError):
    """Root of the errors of calls to agents."""

    agent: str | None = None  #: name of the agent
    handler: str | None = None  #: name of its handler


class NoSuchAgent(AgentError):
    """No agent, handler or role of that name is on the bus."""


class BadCall(AgentError):
    """The call does not fit the type hints of the handler; `argument` names the argument that does not."""

    argument: str | None = None


class HandlerFailed(AgentError):
    """The handler raised; `kind` is the class of its exception and `traceback` its text."""

    kind: str | None = None
    traceback: str | None = None
    where: str | None = None  #: line of the agent's code, as `scouts.py:12 in score`

    def __str__(self) -> str:
        text = f"{self.message}, at {self.where}" if self.where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class BadResult(AgentError):
    """The handler returned a value that cannot be sent."""


class PeerLost(AgentError):
    """The process or agent died, or left, before it answered. The work may have been done."""

    retryable: bool = True


class CallCycle(AgentError):
    """The call would wait for an agent that waits, through others, for the caller."""


class StateNotKept(AgentError):
    """The state of an agent could not be kept, or what was kept could not be given to it."""


class _Evicted(AgentError):
    """A reliable reader was removed because it was too slow for the writer's deadline."""


def __getattr__(name: str) -> object:
    """Serves an old name with a warning; it is removed with the first release."""
    if name == "Evicted":
        warnings.warn(
            "three_mode.errors.Evicted is raised by nothing: Agent.missed gets transports.bus.Evicted, an event",
            DeprecationWarning,
            stacklevel=2,
        )
        return _Evicted
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
