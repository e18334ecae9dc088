"""What agents of A2A do with a request, in whatever binding it came: one desk for all surfaces of an endpoint."""

import hashlib
import secrets
from collections.abc import Callable

import msgspec

from three_mode.a2a import rpc
from three_mode.a2a.faults import (
    BAD_VERSION,
    INVALID_PARAMS,
    NO_PUSH,
    NO_SUCH_METHOD,
    NOT_CANCELABLE,
    UNSUPPORTED,
    A2AFault,
)
from three_mode.a2a.values import (
    VERSION,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskRequest,
)
from three_mode.serve import guard
from three_mode.serve.asgi import Refused
from three_mode.serve.endpoint import EndpointState, overloaded
from three_mode.serve.surfaces.a2a.messages import part_of
from three_mode.serve.surfaces.a2a.offers import Offered, Offers
from three_mode.serve.surfaces.a2a.record import TaskRecord, TaskTooLarge
from three_mode.serve.surfaces.a2a.store import Full, StoreLimits, TaskStore
from three_mode.serve.surfaces.a2a.streams import EventStream, Outlet
from three_mode.serve.surfaces.a2a.work import TaskWork
from three_mode.serve.watching import Watched

Header = Callable[[bytes], str | None]


class TaskCall:
    """One request to one agent, whose caller is known by the headers."""

    __slots__ = ("agent", "owner", "within")

    def __init__(self, header: Header, agent: Offered, within: float) -> None:
        self.agent, self.within = agent, within
        key = guard.given_key(header) or ""
        self.owner = hashlib.blake2b(key.encode(), digest_size=16).digest()


class TaskDesk:
    """Agents of one endpoint and their tasks, which are kept in memory."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint
        self.store = TaskStore(StoreLimits.of(endpoint.options))
        self.offers = Offers(endpoint)
        self._work = TaskWork(endpoint, self.store)

    async def default(self) -> tuple[str, Offered | None]:
        """The agent that a request means which names none: the one that the operator named, or the only one."""
        agents, wanted = await self.offers.all(), self._endpoint.options.a2a_default
        if wanted is None and len(agents) == 1:
            (wanted,) = agents
        if wanted is None:
            return "this endpoint has several agents" if agents else "this endpoint has no agent", None
        return "there is no such agent", agents.get(wanted)

    # methods ----------------------------------------------------------------------------------------------------------
    async def send(self, asked: TaskCall, parameters: SendMessageRequest, connected: Watched) -> StreamResponse:
        """The task of a message, once it is finished or waits for its user. `connected` ends the wait."""
        how, history = parameters.configuration, _history_of(parameters)
        record = self._begin(asked, parameters)
        if how is None or not how.return_immediately:
            with connected:
                await record.until_settled()  # its work keeps the deadline
        return StreamResponse(task=record.task(history))

    async def stream(self, asked: TaskCall, parameters: SendMessageRequest, outlet: Outlet) -> None:
        """The events of the task of a message."""
        history = _history_of(parameters)
        await self._tell_events(asked, self._begin(asked, parameters), outlet, history)

    def get(self, asked: TaskCall, parameters: TaskRequest) -> Task:
        """A task as it is now."""
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        return record.task(_checked_history(parameters.history_length))

    def page(self, asked: TaskCall, parameters: ListTasksRequest) -> ListTasksResponse:
        """A page of tasks."""
        _checked_history(parameters.history_length)
        return self.store.page(asked.owner, asked.agent.name, parameters)

    async def cancel(self, asked: TaskCall, parameters: TaskRequest) -> Task:
        """End a task."""
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        if record.state.finished or not await self._work.cancel(record):
            raise A2AFault(NOT_CANCELABLE, f"the task has ended: {record.state.value}", taskId=record.id)
        return record.task()

    async def subscribe(self, asked: TaskCall, parameters: TaskRequest, outlet: Outlet) -> None:
        """The events of a task that is there."""
        record = self.store.get(asked.owner, asked.agent.name, parameters.id)
        if record.state.finished:
            raise A2AFault(UNSUPPORTED, f"the task has ended: {record.state.value}", taskId=record.id)
        await self._tell_events(asked, record, outlet, None)

    async def _tell_events(self, asked: TaskCall, record: TaskRecord, outlet: Outlet, history: int | None) -> None:
        await EventStream(outlet, record, history, asked.within).send(self._endpoint, self._work.fail)

    def _begin(self, asked: TaskCall, parameters: SendMessageRequest) -> TaskRecord:
        """The task of a message, on which its agent works from now on."""
        message, agent = parameters.message, asked.agent
        if message.role != "ROLE_USER":
            raise A2AFault(INVALID_PARAMS, "a message to an agent has the role ROLE_USER", "message.role")
        how = parameters.configuration
        if how is not None and how.task_push_notification_config is not None:
            raise A2AFault(NO_PUSH, "this endpoint calls no web hooks: stream, or ask for the task")
        skill = (message.metadata or {}).get("skill")
        try:
            handler = agent.handler(None if skill is None else str(skill))
        except (LookupError, StopIteration):
            named = ", ".join(agent.skills)
            raise A2AFault(INVALID_PARAMS, f"message.metadata.skill is one of: {named}", "message.metadata") from None
        if handler is None:
            for part in message.parts:
                part_of(part)
        try:
            record = self._record(asked, message.task_id, message.context_id)
        except Full as full:
            raise Refused(overloaded(str(full))) from None
        try:
            record.hear(msgspec.structs.replace(message, task_id=record.id, context_id=record.context))
        except TaskTooLarge as error:
            if record.settled:
                self.store.settled(record)  # it waits on
            else:
                self.store.drop(record)
            raise A2AFault(INVALID_PARAMS, str(error), "message") from None
        self._work.begin(record, agent, handler, asked.within)
        return record

    def _record(self, asked: TaskCall, task: str | None, context: str | None) -> TaskRecord:
        name = asked.agent.name
        if not task:
            return self.store.new(name, asked.owner, context or secrets.token_hex(16))
        record = self.store.get(asked.owner, name, task)
        if context and context != record.context:
            raise A2AFault(INVALID_PARAMS, "the task is of another context", "message.contextId", taskId=record.id)
        if not record.state.waits:
            what = "has ended" if record.state.finished else "is being worked on"
            raise A2AFault(UNSUPPORTED, f"the task {what}: {record.state.value}", taskId=record.id)
        self.store.works(record)
        return record


def check_version(given: str) -> None:
    """Refuses a version that is not spoken. A client that names none speaks 0.3, as the protocol says."""
    if ".".join(given.strip().split(".")[:2]) != VERSION:
        told = given.strip()[:40] or "0.3, which a request without A2A-Version means,"
        raise A2AFault(BAD_VERSION, f"version {told} is not spoken here: {VERSION} is", supportedVersions=VERSION)


def check_offered(method: str) -> None:
    """Refuses a method that is not there, by its name."""
    if method in rpc.PUSH:
        raise A2AFault(NO_PUSH, "this endpoint calls no web hooks: stream, or ask for the task")
    if method == rpc.EXTENDED_CARD:
        raise A2AFault(UNSUPPORTED, "this endpoint has no extended card")
    if method not in rpc.PARAMETERS:
        raise A2AFault(NO_SUCH_METHOD, f"no method {method[:100]!r}; there are {', '.join(rpc.PARAMETERS)}")


def _history_of(parameters: SendMessageRequest) -> int | None:
    how = parameters.configuration
    return _checked_history(None if how is None else how.history_length)


def _checked_history(length: int | None) -> int | None:
    if length is not None and length < 0:
        raise A2AFault(INVALID_PARAMS, "historyLength is at least 0", "historyLength")
    return length
