"""A request to a model as a message of A2A, and what came of it as a model's answer. Pure."""

from typing import Any

from three_mode.a2a.folding import Event, TaskFold
from three_mode.a2a.values import A2AMessage, A2APart, ArtifactUpdate, Task, TaskState, said_by
from three_mode.errors import AuthenticationError, InvalidRequest, LLMError, ServerError, UnsupportedParameter
from three_mode.messages import Image, LLMRequest, LLMResponse, Message, Text

_CONTINUES = {"taskId", "contextId"}
# What an agent that takes a message cannot keep to. How a model chooses its words is its own affair.
_UNKNOWN = ("tools", "tool_choice", "response_format", "stop")
_NOTHING: tuple[Any, ...] = (None, ())
_SPEAKER = {"system": "System", "user": "User", "assistant": "Assistant"}


def message_of(request: LLMRequest) -> tuple[A2AMessage, str | None, str | None]:
    """The message of a request, with the task and the conversation that it continues.

    An agent that keeps the conversation gets the last message alone. Any other gets what was said before as a text.
    """
    for field in _UNKNOWN:
        if getattr(request, field) not in _NOTHING:
            raise UnsupportedParameter(f"an agent of A2A takes no {field}", field=field, hint="leave it out")
    other = sorted(request.extra.keys() - _CONTINUES)
    if other:
        raise UnsupportedParameter(
            f"an agent of A2A takes no extra field {other[0]!r}", field=f"extra.{other[0]}", hint="taskId, contextId"
        )
    task, context = (_text_of(request.extra, name) for name in ("taskId", "contextId"))
    *before, last = request.messages
    parts = _parts(last)
    if before and not (task or context):
        parts = (A2APart(text=_transcript(before)), *parts)
    return said_by("ROLE_USER", parts), task, context


def _text_of(extra: dict[str, Any], name: str) -> str | None:
    found = extra.get(name)
    if found is None or isinstance(found, str):
        return found or None
    raise InvalidRequest(f"{name} is a text", field=f"extra.{name}")


def _parts(message: Message) -> tuple[A2APart, ...]:
    found = tuple(_part(part) for part in message.parts)
    if not found or all(part.text == "" for part in found):
        raise InvalidRequest("the last message says nothing", field="messages")
    return found


def _part(part: Any) -> A2APart:
    if isinstance(part, Text):
        return A2APart(text=part.text)
    if isinstance(part, Image):
        if part.data is not None:
            return A2APart(raw=part.data, media_type=part.mime)
        return A2APart(url=part.url, media_type="image/*")
    raise UnsupportedParameter(f"a message of A2A carries no {type(part).__name__}", field="messages")


def _transcript(messages: list[Message]) -> str:
    """What was said before, a paragraph each. One that only instructs needs no name."""
    if all(message.role == "system" for message in messages):
        return "\n\n".join(message.text for message in messages)
    return "\n\n".join(f"{_SPEAKER.get(message.role, message.role)}: {message.text}" for message in messages)


def reply_of(found: Task | A2AMessage, server: str) -> LLMResponse:
    """The answer that a task came to; its failure is raised."""
    if isinstance(found, A2AMessage):
        extra = _extra("", found.context_id, TaskState.COMPLETED)
        return LLMResponse(parts=_as_text(found.text), provider=server, extra=extra)
    _check(found, server)
    text = "\n\n".join(artifact.text for artifact in found.artifacts or ())
    if found.status.state.waits or not text:
        text = "\n\n".join(each for each in (text, _status_text(found)) if each)
    return LLMResponse(
        parts=_as_text(text), provider=server, extra=_extra(found.id, found.context_id, found.status.state)
    )


class ChatText:
    """The text of a stream of events, piece by piece."""

    def __init__(self, server: str) -> None:
        self._server, self._artifact, self._said = server, "", False

    def of(self, event: Event) -> str:
        """What an event adds to the text."""
        if isinstance(event, A2AMessage):
            return self._add(event.text, "")
        if isinstance(event, ArtifactUpdate):
            return self._add(event.artifact.text, event.artifact.artifact_id)
        if isinstance(event, Task):
            return "".join(self._add(artifact.text, artifact.artifact_id) for artifact in event.artifacts or ())
        if event.status.state.waits and event.status.message is not None:
            return self._add(event.status.message.text, "")
        return ""

    def end(self, fold: TaskFold) -> dict[str, Any]:
        """The extra fields of the answer; its failure is raised."""
        task = fold.task()
        if task is not None:
            _check(task, self._server)
        return _extra(fold.id, fold.context, fold.state)

    def _add(self, text: str, artifact: str) -> str:
        """Two results are two paragraphs."""
        if not text:
            return ""
        apart = "\n\n" if self._said and artifact != self._artifact else ""
        self._artifact, self._said = artifact, True
        return apart + text


def _check(task: Task, server: str) -> None:
    """Raise what a task failed with."""
    state, said = task.status.state, _status_text(task)
    if state is TaskState.REJECTED:
        raise InvalidRequest(f"{server}: the agent rejected the task: {said or 'it does not say why'}", provider=server)
    if state is TaskState.AUTH_REQUIRED:
        raise AuthenticationError(f"{server}: the agent needs an authorization: {said}", provider=server)
    if state in (TaskState.FAILED, TaskState.CANCELED):
        how = "failed" if state is TaskState.FAILED else "was cancelled"
        error: LLMError = ServerError(
            f"{server}: the task {how}: {said or 'the agent does not say why'}", provider=server, retryable=False
        )
        raise error


def _status_text(task: Task) -> str:
    return "" if task.status.message is None else task.status.message.text


def _as_text(text: str) -> tuple[Text, ...]:
    return (Text(text),) if text else ()


def _extra(task: str, context: str | None, state: TaskState) -> dict[str, Any]:
    found = {"taskId": task, "contextId": context or "", "state": state.value}
    return {"a2a": {name: value for name, value in found.items() if value}}
