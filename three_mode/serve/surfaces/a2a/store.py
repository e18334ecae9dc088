"""Tasks of the endpoint: kept in memory, bounded in number, bytes and age.

When there is no room, the finished task that ended first goes, then the one that has waited longest for its user. A
task that an agent works on is never dropped: a new one is refused instead. Pure but for the events of its tasks.
"""

import base64
import binascii
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from msgspec import Struct

from three_mode.a2a.faults import INVALID_PARAMS, TASK_NOT_FOUND, A2AFault
from three_mode.a2a.values import ListTasksRequest, ListTasksResponse, TaskState
from three_mode.serve.options import ServeOptions
from three_mode.serve.surfaces.a2a.record import TaskRecord

DEFAULT_PAGE = 50
_OF_A_CONTEXT = 50  # earlier tasks of a conversation that are looked at


class StoreLimits(Struct, frozen=True, kw_only=True):
    """What one endpoint keeps of tasks."""

    #: tasks in all
    tasks: int
    #: tasks that agents work on at once; one more is refused
    working: int
    #: bytes of messages and results in all
    total_bytes: int
    #: bytes of one task; one that has more fails
    task_bytes: int
    #: seconds for which a finished task is kept, and a task waits for its user
    keep: float

    @classmethod
    def of(cls, options: ServeOptions) -> "StoreLimits":
        """Those of an endpoint."""
        return cls(
            tasks=options.max_tasks,
            working=options.max_in_flight,
            total_bytes=options.max_tasks_bytes,
            task_bytes=max(1, options.max_tasks_bytes // 8),
            keep=options.keep_tasks,
        )


class Full(Exception):
    """No more tasks are taken now."""


class TaskStore:
    """Tasks by id. Those of another owner or another agent are not there."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self._clock = clock
        self._tasks: dict[str, TaskRecord] = {}
        self._finished: dict[str, None] = {}  # in the order in which they ended
        self._waiting: dict[str, None] = {}  # in the order in which they began to wait
        self._contexts: dict[tuple[bytes, str, str], dict[str, None]] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def working(self) -> int:
        """Tasks that agents work on."""
        return len(self._tasks) - len(self._finished) - len(self._waiting)

    def new(self, agent: str, owner: bytes, context: str) -> TaskRecord:
        """A new task; Full where there is no room for it."""
        self.expire()
        self._check_room()
        while len(self._tasks) >= self.limits.tasks:
            if not self._drop_one():
                raise Full("no place for another task is left")
        record = TaskRecord(agent, owner, context, self.limits.task_bytes, self._clock, self._grew)
        self._tasks[record.id] = record
        self._contexts.setdefault((owner, agent, context), {})[record.id] = None
        if not self._grew(record, record.size):
            self.drop(record)
            raise Full("tasks of too many bytes are kept already")
        return record

    def get(self, owner: bytes, agent: str, number: str) -> TaskRecord:
        """The task of that id; A2AFault where this owner has none at this agent."""
        self.expire()
        record = self._tasks.get(number)
        if record is None or record.owner != owner or record.agent != agent:
            raise A2AFault(TASK_NOT_FOUND, "there is no such task", taskId=number[:100])
        return record

    def works(self, record: TaskRecord) -> None:
        """An agent works on it again; Full where too many are worked on."""
        self._check_room()
        self._waiting.pop(record.id, None)

    def settled(self, record: TaskRecord) -> None:
        """It is finished, or waits for its user."""
        if record.id not in self._tasks:
            return
        self._waiting.pop(record.id, None)
        (self._finished if record.state.finished else self._waiting)[record.id] = None

    def drop(self, record: TaskRecord) -> None:
        """It is not kept any more."""
        if self._tasks.pop(record.id, None) is None:
            return
        self._finished.pop(record.id, None)
        self._waiting.pop(record.id, None)
        key = (record.owner, record.agent, record.context)
        others = self._contexts[key]
        del others[record.id]
        if not others:
            del self._contexts[key]
        self.bytes -= record.size

    def of_context(self, record: TaskRecord) -> list[TaskRecord]:
        """Earlier tasks of its conversation, oldest first."""
        numbers = list(self._contexts.get((record.owner, record.agent, record.context), ()))[-_OF_A_CONTEXT:]
        return [self._tasks[number] for number in numbers if number != record.id]

    def all(self) -> Iterable[TaskRecord]:
        """Each task that is kept."""
        return list(self._tasks.values())

    def expire(self) -> None:
        """What is too old goes."""
        oldest = self._clock() - self.limits.keep
        for numbers in (self._finished, self._waiting):
            while numbers and (record := self._tasks[next(iter(numbers))]).changed < oldest:
                self._let_go(record, "no message came in time")

    def page(self, owner: bytes, agent: str, asked: ListTasksRequest) -> ListTasksResponse:
        """A page of this owner's tasks at this agent, those that changed last first."""
        self.expire()
        since = _read_time(asked.status_timestamp_after) if asked.status_timestamp_after else float("-inf")
        wanted = None if asked.status is TaskState.UNSPECIFIED else asked.status
        found = [
            record
            for record in self._tasks.values()
            if record.owner == owner
            and record.agent == agent
            and (not asked.context_id or record.context == asked.context_id)
            and (wanted is None or record.state is wanted)
            and record.changed >= since
        ]
        found.sort(key=_place, reverse=True)
        total, size = len(found), asked.page_size or DEFAULT_PAGE
        if asked.page_token:
            last = _read_token(asked.page_token)
            found = [record for record in found if _place(record) < last]
        shown = found[:size]
        return ListTasksResponse(
            tasks=tuple(record.task(asked.history_length, bool(asked.include_artifacts)) for record in shown),
            next_page_token=_token(shown[-1]) if len(found) > size else "",
            page_size=size,
            total_size=total,
        )

    def _check_room(self) -> None:
        if self.working >= self.limits.working:
            raise Full(f"{self.limits.working} tasks are being worked on already")

    def _grew(self, record: TaskRecord, more: int) -> bool:
        """A task has so many bytes more; False where all of them together have too many, and none can go."""
        if record.id in self._tasks:
            self.bytes += more
            while self.bytes > self.limits.total_bytes:
                if not self._drop_one(record):
                    return False
        return True

    def _drop_one(self, but: TaskRecord | None = None) -> bool:
        """The one that is missed least goes: the first that ended, else the one that has waited longest."""
        for numbers in (self._finished, self._waiting):
            number = next((number for number in numbers if but is None or number != but.id), None)
            if number is not None:
                self._let_go(self._tasks[number], "its place was needed")
                return True
        return False

    def _let_go(self, record: TaskRecord, why: str) -> None:
        self.drop(record)
        if not record.state.finished:
            record.become(TaskState.FAILED, why)


def _place(record: TaskRecord) -> tuple[float, str]:
    return record.changed, record.id


def _read_time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise A2AFault(INVALID_PARAMS, "statusTimestampAfter is a time in ISO 8601", "statusTimestampAfter") from None


def _token(record: TaskRecord) -> str:
    return base64.urlsafe_b64encode(f"{record.changed!r} {record.id}".encode()).decode()


def _read_token(token: str) -> tuple[float, str]:
    try:
        changed, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(" ")
        return float(changed), number
    except (binascii.Error, ValueError):
        raise A2AFault(INVALID_PARAMS, "pageToken is none that a page gave", "pageToken") from None
