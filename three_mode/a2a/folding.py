"""The events of one task as the task that they make. Pure."""

from msgspec.structs import replace

from three_mode.a2a.values import (
    A2AMessage,
    A2APart,
    Artifact,
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)

Event = Task | A2AMessage | StatusUpdate | ArtifactUpdate


class TaskFold:
    """A task that events add to. `message` is the answer of an agent that made no task."""

    def __init__(self) -> None:
        self.message: A2AMessage | None = None
        self.settled = False  # no event need follow
        self._task: Task | None = None
        self._artifacts: dict[str, tuple[Artifact, list[A2APart]]] = {}

    @property
    def id(self) -> str:
        """The task's id; "" before it is known."""
        return "" if self._task is None else self._task.id

    @property
    def context(self) -> str:
        """The conversation's id; "" before it is known."""
        found = self.message or self._task
        return "" if found is None else found.context_id or ""

    @property
    def state(self) -> TaskState:
        """The task's state; that of an answer without a task is completed."""
        if self._task is None:
            return TaskState.COMPLETED if self.message is not None else TaskState.UNSPECIFIED
        return self._task.status.state

    def add(self, event: Event) -> None:
        """The next event."""
        if isinstance(event, A2AMessage):
            self.message, self.settled = event, True
        elif isinstance(event, Task):
            self._task = event
            self._artifacts = {each.artifact_id: (each, list(each.parts)) for each in event.artifacts or ()}
            self._settle(event.status)
        else:
            if self._task is None:
                self._task = Task(
                    id=event.task_id, context_id=event.context_id, status=TaskStatus(state=TaskState.WORKING)
                )
            if isinstance(event, StatusUpdate):
                self._task = replace(self._task, status=event.status)
                self._settle(event.status)
            else:
                self._add_result(event)

    def task(self) -> Task | None:
        """The task so far; None where there is none."""
        if self._task is None:
            return None
        results = tuple(replace(artifact, parts=_joined(parts)) for artifact, parts in self._artifacts.values())
        return replace(self._task, artifacts=results or None)

    def _settle(self, status: TaskStatus) -> None:
        self.settled = status.state.finished or status.state.waits

    def _add_result(self, event: ArtifactUpdate) -> None:
        known = self._artifacts.get(event.artifact.artifact_id) if event.append else None
        if known is None:
            self._artifacts[event.artifact.artifact_id] = event.artifact, list(event.artifact.parts)
        else:
            known[1].extend(event.artifact.parts)


def _joined(parts: list[A2APart]) -> tuple[A2APart, ...]:
    """The same parts; texts that follow each other, and say nothing else, are one."""
    found: list[A2APart] = []
    texts: list[str] = []
    for part in parts:
        if part.text is not None and part == A2APart(text=part.text):
            texts.append(part.text)
            continue
        if texts:
            found.append(A2APart(text="".join(texts)))
            texts.clear()
        found.append(part)
    if texts:
        found.append(A2APart(text="".join(texts)))
    return tuple(found)
