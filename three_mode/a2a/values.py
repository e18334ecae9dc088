"""Values of the A2A protocol: messages, tasks, artifacts and events, as its JSON has them. Pure.

Names on the wire are in camelCase. Unknown fields are ignored, as the protocol asks; a field that is null is one that
is not there.
"""

import secrets
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

VERSION = "1.0"
VERSION_HEADER = "a2a-version"
MEDIA_TYPE = "application/a2a+json"
WELL_KNOWN = "/.well-known/agent-card.json"


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of the protocol's values: frozen, with names in camelCase on the wire."""


class A2APart(Value, frozen=True, kw_only=True):
    """A part of a message or an artifact: exactly one of text, bytes, a URL and data."""

    text: str | None = None  #: plain text
    raw: bytes | None = None  #: the bytes of a file
    url: str | None = None  #: the address of a file
    data: Any = UNSET  #: any JSON value
    metadata: dict[str, Any] | None = None  #: values of whoever made it
    filename: str | None = None  #: name of the file
    media_type: str | None = None  #: media type of the content, such as "image/png"

    def __post_init__(self) -> None:
        given = (self.text is not None) + (self.raw is not None) + (self.url is not None) + (self.data is not UNSET)
        if given != 1:
            raise ValueError("a part has exactly one of text, raw, url and data")

    @property
    def said(self) -> str:
        """The text of the part; of data its JSON, of anything else ""."""
        if self.text is not None:
            return self.text
        return "" if self.data is UNSET else msgspec.json.encode(self.data).decode()


Parts = Annotated[tuple[A2APart, ...], Meta(min_length=1)]
Identity = Annotated[str, Meta(min_length=1, max_length=512)]


class A2AMessage(Value, frozen=True, kw_only=True):
    """A message of the user or the agent."""

    message_id: Identity  #: made by its sender
    role: Literal["ROLE_USER", "ROLE_AGENT"]  #: who says it
    parts: Parts  #: what is said, at least one part
    context_id: str | None = None  #: the conversation that it belongs to
    task_id: str | None = None  #: the task that it continues
    metadata: dict[str, Any] | None = None  #: values of its sender
    extensions: tuple[str, ...] | None = None  #: URIs of the extensions that it uses
    reference_task_ids: tuple[str, ...] | None = None  #: other tasks that it speaks of

    @property
    def text(self) -> str:
        """The text of its parts, a line each; data as JSON."""
        return "\n".join(part.said for part in self.parts if part.said)


def said_by(role: Literal["ROLE_USER", "ROLE_AGENT"], parts: tuple[A2APart, ...], **fields: Any) -> A2AMessage:
    """A new message, with an id of its own."""
    return A2AMessage(message_id=secrets.token_hex(16), role=role, parts=parts, **fields)


class TaskState(Enum):
    """How far a task is."""

    UNSPECIFIED = "TASK_STATE_UNSPECIFIED"
    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    REJECTED = "TASK_STATE_REJECTED"
    AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"

    @property
    def finished(self) -> bool:
        """Whether no other state follows."""
        return self in _FINISHED

    @property
    def waits(self) -> bool:
        """Whether the task waits for its user."""
        return self in _WAITS


_FINISHED = frozenset((TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED))
_WAITS = frozenset((TaskState.INPUT_REQUIRED, TaskState.AUTH_REQUIRED))
# State -> those that may follow it. A task that waits works again, or is ended.
_AFTER = {
    TaskState.SUBMITTED: _FINISHED | _WAITS | {TaskState.WORKING},
    TaskState.WORKING: _FINISHED | _WAITS,
    TaskState.INPUT_REQUIRED: _FINISHED | {TaskState.WORKING},
    TaskState.AUTH_REQUIRED: _FINISHED | {TaskState.WORKING},
}


def may_follow(before: TaskState, after: TaskState) -> bool:
    """Whether a task may go from one state to the other. Nothing follows a state that is finished."""
    return after in _AFTER.get(before, ())


class TaskStatus(Value, frozen=True, kw_only=True):
    """State of a task, and what the agent says of it."""

    state: TaskState  #: how far it is
    message: A2AMessage | None = None  #: the question of a task that waits, or why one failed
    timestamp: str | None = None  #: when it came to that, in UTC


class Artifact(Value, frozen=True, kw_only=True):
    """A result of a task."""

    artifact_id: Identity  #: unique within the task
    parts: Parts  #: the content
    name: str | None = None  #: a name for people
    description: str | None = None  #: what it is, for people
    metadata: dict[str, Any] | None = None  #: values of the agent
    extensions: tuple[str, ...] | None = None  #: URIs of the extensions that it uses

    @property
    def text(self) -> str:
        """The text of its parts, joined: a streamed answer has many."""
        return "".join(part.said for part in self.parts)


class Task(Value, frozen=True, kw_only=True):
    """A task: its state, its results and its messages."""

    id: Identity  #: made by the server
    context_id: str | None = None  #: the conversation that it belongs to
    status: TaskStatus  #: how far it is
    artifacts: tuple[Artifact, ...] | None = None  #: the results so far
    history: tuple[A2AMessage, ...] | None = None  #: the messages so far, oldest first
    metadata: dict[str, Any] | None = None  #: values of the server

    @property
    def text(self) -> str:
        """The text of all results; of a task that has none, what its status says."""
        if self.artifacts:
            return "\n\n".join(artifact.text for artifact in self.artifacts)
        return "" if self.status.message is None else self.status.message.text


class StatusUpdate(Value, frozen=True, kw_only=True):
    """Event: a task has come to another state."""

    task_id: Identity  #: the task
    context_id: str | None = None  #: its conversation
    status: TaskStatus  #: its state now
    metadata: dict[str, Any] | None = None  #: values of the server


class ArtifactUpdate(Value, frozen=True, kw_only=True):
    """Event: a task has a result, or more of one."""

    task_id: Identity  #: the task
    context_id: str | None = None  #: its conversation
    artifact: Artifact  #: the result, or the next piece of it
    append: bool | None = None  #: whether it continues the artifact of that id
    last_chunk: bool | None = None  #: whether it is the last piece
    metadata: dict[str, Any] | None = None  #: values of the server


class StreamResponse(Value, frozen=True, kw_only=True):
    """One event of a stream, or the answer to a message: exactly one of the four."""

    task: Task | None = None
    message: A2AMessage | None = None
    status_update: StatusUpdate | None = None
    artifact_update: ArtifactUpdate | None = None

    @property
    def event(self) -> "Task | A2AMessage | StatusUpdate | ArtifactUpdate":
        """What it holds; ValueError for none."""
        found = self.task or self.message or self.status_update or self.artifact_update
        if found is None:
            raise ValueError("an event is a task, a message, a status update or an artifact update")
        return found


def envelope(event: "Task | A2AMessage | StatusUpdate | ArtifactUpdate") -> StreamResponse:
    """An event as a stream has it."""
    match event:
        case Task():
            return StreamResponse(task=event)
        case A2AMessage():
            return StreamResponse(message=event)
        case StatusUpdate():
            return StreamResponse(status_update=event)
        case ArtifactUpdate():
            return StreamResponse(artifact_update=event)


# What is asked for ----------------------------------------------------------------------------------------------------
class SendConfiguration(Value, frozen=True, kw_only=True):
    """How a message is to be answered."""

    accepted_output_modes: tuple[str, ...] | None = None
    task_push_notification_config: dict[str, Any] | None = None
    history_length: int | None = None
    return_immediately: bool | None = None


class SendMessageRequest(Value, frozen=True, kw_only=True):
    """Parameters of SendMessage and SendStreamingMessage."""

    message: A2AMessage
    configuration: SendConfiguration | None = None
    metadata: dict[str, Any] | None = None
    tenant: str | None = None


class TaskRequest(Value, frozen=True, kw_only=True):
    """Parameters of GetTask, CancelTask and SubscribeToTask."""

    id: Identity
    history_length: int | None = None
    metadata: dict[str, Any] | None = None
    tenant: str | None = None


class ListTasksRequest(Value, frozen=True, kw_only=True):
    """Parameters of ListTasks."""

    context_id: str | None = None
    status: TaskState | None = None
    page_size: Annotated[int, Meta(ge=1, le=100)] | None = None
    page_token: str | None = None
    history_length: int | None = None
    status_timestamp_after: str | None = None  # in ISO 8601
    include_artifacts: bool | None = None
    tenant: str | None = None


class ListTasksResponse(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of tasks, those that changed last first. `next_page_token` is "" on the last page."""

    tasks: tuple[Task, ...]
    next_page_token: str
    page_size: int
    total_size: int


def stamp(seconds: float) -> str:
    """Seconds since the epoch as the protocol writes a time: UTC, in milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
