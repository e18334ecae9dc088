"""The work of a task: an agent or a model is asked, and what it answers becomes the task's results and state."""

import asyncio
import logging
import uuid
from typing import Any

from three_mode.a2a.faults import A2AFault
from three_mode.a2a.turns import NeedsInput, Rejected, meant
from three_mode.a2a.values import A2APart, TaskState
from three_mode.agents.wire.orders import A2AHandler
from three_mode.errors import ThreeModeError
from three_mode.messages import Finish, LLMRequest, Usage
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.chat import UNREAD, usage_of
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import in_words
from three_mode.serve.surfaces.a2a.messages import plain, request_of, said_before, turn_of
from three_mode.serve.surfaces.a2a.offers import Offered
from three_mode.serve.surfaces.a2a.record import TaskRecord, TaskTooLarge
from three_mode.serve.surfaces.a2a.store import TaskStore

log = logging.getLogger("three_mode.serve")
CANCELLED_WITHIN = 5.0  # seconds that the work of a cancelled task has to end
SHUTTING_DOWN = "the endpoint is shutting down"


class TaskWork:
    """Has tasks worked on, each in a task of the event loop that no client's connection ends."""

    def __init__(self, endpoint: EndpointState, store: TaskStore) -> None:
        self._endpoint, self._store = endpoint, store

    def begin(self, record: TaskRecord, offered: Offered, handler: A2AHandler | None, within: float) -> None:
        """Have the last message of a task answered, within so many seconds."""
        if record.state.waits:
            self._become(record, TaskState.WORKING)
        record.work = asyncio.create_task(self._run(record, offered, handler, within), name=f"a2a {record.id}")

    async def cancel(self, record: TaskRecord) -> bool:
        """End the work and the task; False where it has ended otherwise."""
        work = record.work
        if work is not None and not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=CANCELLED_WITHIN)
        self._become(record, TaskState.CANCELED)
        return record.state is TaskState.CANCELED

    def fail(self, record: TaskRecord, why: str) -> None:
        """The task will not be answered."""
        self._become(record, TaskState.FAILED, why)

    async def _run(self, record: TaskRecord, offered: Offered, handler: A2AHandler | None, within: float) -> None:
        """An endpoint that stops waits for it, as for a request."""
        running = self._endpoint.begin()
        try:
            self._become(record, TaskState.WORKING)
            before = said_before(record, self._store.of_context(record))
            async with asyncio.timeout(within + UNREAD):  # whoever is asked keeps the deadline itself
                if handler is None:
                    await self._ask_model(record, request_of(offered.model, record, before, within))
                else:
                    await self._ask_handler(record, offered.name, handler, turn_of(record, before), within)
            self._become(record, TaskState.COMPLETED)
        except asyncio.CancelledError:
            self._become(record, *((TaskState.FAILED, SHUTTING_DOWN) if self._endpoint.cut else (TaskState.CANCELED,)))
            raise
        except ThreeModeError as error:
            self.fail(record, in_words(error))
        except (A2AFault, TaskTooLarge) as error:
            self.fail(record, str(error))
        except TimeoutError:
            self.fail(record, f"the task was not done within {within:g} s")
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("task %s failed (%s)", record.id, number)
            self.fail(record, f"an unforeseen error; it is logged as {number}")
        finally:
            self._endpoint.end(running)

    async def _ask_model(self, record: TaskRecord, request: LLMRequest) -> None:
        told, model, used = self._endpoint.told, request.model or "", Usage()
        assert told is not None
        with KnownAs(self._endpoint.events, model, record.id):
            async with told.stream(request) as chunks:
                async for chunk in chunks:
                    record.add_text(chunk.text)
                    used = usage_of(chunk, used)
                    if isinstance(chunk, Finish):
                        break
        self._endpoint.metrics.used(model, used)

    async def _ask_handler(self, record: TaskRecord, name: str, handler: A2AHandler, turn: Any, within: float) -> None:
        verbs = self._endpoint.agents
        assert verbs is not None
        agent, asked = verbs.any(name), turn.text if handler.takes_text else plain(turn)
        if not handler.streams:
            self._take(record, await agent.ask(handler.name, asked, within=within))
            return
        async with agent.stream(handler.name, asked, within=within) as parts:
            async for part in parts:
                if isinstance(part, str):
                    record.add_text(part)
                elif self._take(record, part):
                    break

    def _take(self, record: TaskRecord, value: Any) -> bool:
        """What an agent returned, or a part of it; True where nothing may follow."""
        try:
            found = meant(value)
        except ValueError as error:
            self.fail(record, f"the agent answered what is no answer: {error}")
            return True
        if isinstance(found, NeedsInput):
            parts = (A2APart(text=found.question),) if found.question else ()
            if found.data is not None:
                parts = (*parts, A2APart(data=found.data))
            question = record.agent_message(parts or (A2APart(text="more input is needed"),))
            self._become(record, TaskState.INPUT_REQUIRED, question)
        elif isinstance(found, Rejected):
            self._become(record, TaskState.REJECTED, found.reason)
        elif found is not None:
            record.add_answer(found)
            return False
        else:
            return False
        return True

    def _become(self, record: TaskRecord, state: TaskState, said: Any = None) -> None:
        """A task that was ended otherwise stays as it is: by its client, or with the endpoint."""
        if record.settled and state is TaskState.COMPLETED:
            return  # it waits for its user, or was rejected
        if record.become(state, said) and record.settled:
            self._store.settled(record)
