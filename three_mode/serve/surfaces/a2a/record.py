"""One task: its state, its messages, its results, and the readers of its events.

A reader holds the events that it has not read. One that is slow costs no other reader anything: when too many wait,
the pieces of one result that follow each other become one piece, so that nothing is lost and memory stays bounded.
"""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import cast

import msgspec

from three_mode.a2a.turns import A2AAnswer
from three_mode.a2a.values import (
    A2AMessage,
    A2APart,
    Artifact,
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
    may_follow,
    said_by,
    stamp,
)

Event = StatusUpdate | ArtifactUpdate
MOST_WAITING = 256  # events of one reader, before pieces become one
_BASE = 1024  # bytes that a task is counted with beside its content
_JOINED_AT = 256  # pieces of a text


class TaskTooLarge(Exception):
    """The results of a task have more bytes than one may have."""


class OpenArtifact:
    """A result that grows."""

    __slots__ = ("_pieces", "_text", "answer", "id", "parts")

    def __init__(self, answer: A2AAnswer | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.answer = answer
        self.parts = () if answer is None else answer.parts
        self._text, self._pieces = "", list[str]()

    def add(self, text: str) -> None:
        self._pieces.append(text)
        if len(self._pieces) >= _JOINED_AT:
            self._join()

    def value(self) -> Artifact:
        """The artifact as it is now."""
        self._join()
        parts = self.parts or (A2APart(text=self._text),)
        if self.answer is None:
            return Artifact(artifact_id=self.id, parts=parts)
        return Artifact(artifact_id=self.id, parts=parts, name=self.answer.name, description=self.answer.description)

    def _join(self) -> None:
        if self._pieces:
            self._text = "".join((self._text, *self._pieces))
            self._pieces.clear()


class TaskReader:
    """Events of one task for one stream, from the moment that it was opened."""

    __slots__ = ("_events", "_waiting", "_woken", "closed")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._woken = asyncio.Event()
        self.closed = False  # no event follows those that wait

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > MOST_WAITING:
            self._events = deque(_merged(self._events))
        self._woken.set()

    def close(self) -> None:
        """What waits can still be read."""
        self.closed = True
        self._woken.set()

    def take(self) -> list[Event]:
        """The events that are here."""
        found = list(self._events)
        self._events.clear()
        if not self.closed:
            self._woken.clear()
        return found

    async def wait(self, seconds: float) -> bool:
        """Whether there is something to take within that time, or nothing follows."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True


class TaskRecord:
    """A task of one owner and one agent."""

    def __init__(
        self,
        agent: str,
        owner: bytes,
        context: str,
        most_bytes: int,
        clock: Callable[[], float] = time.time,
        grew: Callable[["TaskRecord", int], bool] = lambda record, more: True,
    ) -> None:
        self.id, self.context = secrets.token_hex(16), context
        self.agent, self.owner = agent, owner
        self.size = _BASE
        self.work: asyncio.Task[None] | None = None
        self.history: list[A2AMessage] = []
        self._artifacts: list[OpenArtifact] = []
        self._text: OpenArtifact | None = None  # the one that text goes on in
        self._most, self._clock, self._grew = most_bytes, clock, grew
        self._readers: dict[TaskReader, None] = {}
        self._settled = asyncio.Event()
        self.changed = clock()
        self.status = TaskStatus(state=TaskState.SUBMITTED, timestamp=stamp(self.changed))

    @property
    def state(self) -> TaskState:
        return self.status.state

    @property
    def settled(self) -> bool:
        """Whether it is finished, or waits for its user."""
        return self._settled.is_set()

    async def until_settled(self) -> None:
        """Wait until it is finished, or waits for its user."""
        await self._settled.wait()

    # what happens to it -----------------------------------------------------------------------------------------------
    def hear(self, message: A2AMessage) -> None:
        """A message of its user."""
        self.history.append(message)
        self._grow(len(msgspec.json.encode(message)))

    def become(self, state: TaskState, said: str | A2AMessage | None = None) -> bool:
        """Go to another state, with what the agent says of it; False where a task may not go from here to there."""
        if not may_follow(self.state, state):
            return False
        self._end_text()
        message = self._agent_says(said) if isinstance(said, str) else said
        if message is not None and state.waits:
            self.history.append(message)
        self.changed = self._clock()
        self.status = TaskStatus(state=state, message=message, timestamp=stamp(self.changed))
        if message is not None:
            self._grow(len(msgspec.json.encode(message)), checked=False)
        self._publish(StatusUpdate(task_id=self.id, context_id=self.context, status=self.status))
        if state.finished or state.waits:
            self._settled.set()
            for reader in self._readers:
                reader.close()
            self._readers.clear()
        else:
            self._settled.clear()
        return True

    def add_text(self, text: str) -> None:
        """More of the answer's text."""
        if not text:
            return
        self._grow(len(text.encode("utf-8", "replace")))
        begins = self._text is None
        if self._text is None:
            self._text = OpenArtifact()
            self._artifacts.append(self._text)
        self._text.add(text)
        self._tell_of(Artifact(artifact_id=self._text.id, parts=(A2APart(text=text),)), append=not begins or None)

    def add_answer(self, answer: A2AAnswer) -> None:
        """A result that is whole."""
        self._end_text()
        found = OpenArtifact(answer)
        self._artifacts.append(found)
        value = found.value()
        self._grow(len(msgspec.json.encode(value)))
        self._tell_of(value, last=True)

    def _end_text(self) -> None:
        """What is said from now on is another result."""
        self._text = None

    def _agent_says(self, text: str) -> A2AMessage:
        return self.agent_message((A2APart(text=text or "(it says nothing)"),))

    def agent_message(self, parts: tuple[A2APart, ...]) -> A2AMessage:
        """A message of the agent in this task."""
        return said_by("ROLE_AGENT", parts, context_id=self.context, task_id=self.id)

    def _grow(self, more: int, checked: bool = True) -> None:
        if checked and self.size + more > self._most:
            raise TaskTooLarge(f"the task has more than {self._most} bytes")
        self.size += more
        if not self._grew(self, more) and checked:
            raise TaskTooLarge("the tasks of this endpoint have too many bytes together")

    # what is seen of it -----------------------------------------------------------------------------------------------
    def task(self, history: int | None = None, artifacts: bool = True) -> Task:
        """The task now, with so many of its last messages; None: with all."""
        told = self.history if history is None else self.history[-history:] if history else []
        results = tuple(self.results()) if artifacts else ()
        return Task(
            id=self.id,
            context_id=self.context,
            status=self.status,
            artifacts=results or None,
            history=tuple(told) or None,
        )

    def results(self) -> list[Artifact]:
        """Its results so far."""
        return [artifact.value() for artifact in self._artifacts]

    def open_reader(self) -> TaskReader:
        """Events from now on."""
        reader = TaskReader()
        if self.state.finished:
            reader.close()
        else:
            self._readers[reader] = None
        return reader

    def close_reader(self, reader: TaskReader) -> None:
        """Nobody reads it any more."""
        self._readers.pop(reader, None)

    def _tell_of(self, artifact: Artifact, append: bool | None = None, last: bool | None = None) -> None:
        if self._readers:
            self._publish(
                ArtifactUpdate(
                    task_id=self.id, context_id=self.context, artifact=artifact, append=append, last_chunk=last
                )
            )

    def _publish(self, event: Event) -> None:
        for reader in self._readers:
            reader.put(event)


def _merged(events: Iterable[Event]) -> Iterator[Event]:
    """The same events; texts of one result that follow each other are one."""
    for artifact, group in groupby(events, _text_of):
        if artifact is None:
            yield from group
            continue
        first, *others = cast("list[ArtifactUpdate]", list(group))
        text = "".join(event.artifact.text for event in (first, *others))
        joined = msgspec.structs.replace(first.artifact, parts=(A2APart(text=text),))
        yield msgspec.structs.replace(first, artifact=joined)


def _text_of(event: Event) -> str | None:
    """The result that an event is a piece of text of; None for any other event."""
    if isinstance(event, StatusUpdate) or event.last_chunk:
        return None
    return event.artifact.artifact_id
