"""What agents log, and exceptions that no caller sees: both reach the program of the orchestrator."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Faulty, Loud
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, HandlerRaised
from three_mode.agents.supervisor.control_client import ControlClient
from three_mode.errors import HandlerFailed
from three_mode.observe.logs import JSONFormatter


@pytest_asyncio.fixture
async def orc(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Orchestrator]:
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.INFO, "loud.voice")
    async with Orchestrator(hosts=1) as running:
        yield running


@pytest_asyncio.fixture
async def loud(orc: Orchestrator) -> AgentGroup:
    return await orc.spawn(Loud, 4, name="loud")


async def logged(caplog: pytest.LogCaptureFixture, text: str, count: int = 1) -> list[logging.LogRecord]:
    def found() -> list[logging.LogRecord]:
        return [record for record in caplog.records if text in record.getMessage()]

    await until(lambda: len(found()) >= count)
    return found()


async def test_records_of_a_host_reach_the_program_with_their_fields(
    caplog: pytest.LogCaptureFixture, loud: AgentGroup
) -> None:
    await loud[1].ask(Loud.log, logging.INFO, "so it is")
    (record,) = await logged(caplog, "so it is")
    assert (record.name, record.levelname, record.processName) == ("loud.voice", "INFO", "host-1")
    assert (record.filename, record.funcName) == ("agent_cast.py", "log")
    assert record.__dict__["request_id"] == "loud/1"
    await loud[0].ask(Loud.log_error)
    (record,) = await logged(caplog, "it is gone")
    assert "KeyError: 'missing'" in logging.Formatter().format(record)
    assert "KeyError: 'missing'" in JSONFormatter().format(record)
    await loud[0].ask(Loud.from_thread)
    await logged(caplog, "from a thread")


async def test_a_host_sends_only_what_the_levels_of_the_program_let_through(
    caplog: pytest.LogCaptureFixture, loud: AgentGroup
) -> None:
    await loud[0].ask(Loud.log, logging.DEBUG, "not this")
    await loud[0].ask(Loud.log, logging.INFO, "but this")
    await logged(caplog, "but this")
    assert "not this" not in caplog.text


async def test_records_beyond_the_queue_are_counted(caplog: pytest.LogCaptureFixture, loud: AgentGroup) -> None:
    await loud[0].ask(Loud.flood, 5000)
    (said,) = await logged(caplog, "log records of host-1 were dropped")
    dropped = int(said.getMessage().split()[0])
    floods = await logged(caplog, "flood ", 5000 - dropped)
    assert len(floods) == 5000 - dropped
    assert floods[0].getMessage() == "flood 0"
    await loud[0].ask(Loud.log, logging.ERROR, "afterwards")
    await logged(caplog, "afterwards")


async def test_what_is_logged_at_the_end_reaches_the_program(caplog: pytest.LogCaptureFixture) -> None:
    async with Orchestrator(hosts=1) as orc:
        loud = await orc.spawn(Loud, name="loud")
        await loud.ask(Loud.flood, 1500)
    assert sum("flood" in record.getMessage() for record in caplog.records) == 1500


@pytest.mark.parametrize(
    ("name", "error", "place"),
    [("told", "ValueError", "told"), ("told_later", "ValueError", "told_later")],
)
async def test_an_exception_of_a_told_message_is_logged_and_an_event(
    caplog: pytest.LogCaptureFixture, orc: Orchestrator, loud: AgentGroup, name: str, error: str, place: str
) -> None:
    loud[2].tell(name, "no")
    (record,) = await logged(caplog, f"loud/2.{name} raised {error}: no")
    assert (record.levelname, record.name) == ("ERROR", "three_mode.agents")
    assert record.filename == "agent_cast.py"
    assert f"in {place}" in (record.exc_text or "")
    assert "eager.py" not in (record.exc_text or "")  # the agent's own traceback
    await until(lambda: any(isinstance(event, HandlerRaised) for event in orc.events))
    (event,) = (event for event in orc.events if isinstance(event, HandlerRaised))
    assert (event.agent, event.handler, event.host, event.times) == ("loud/2", name, "host-1", 1)
    assert event.reason == f"HandlerFailed: loud/2.{name} raised {error}: no"
    assert str(event).startswith(event.reason)


@pytest.mark.parametrize(("topic", "count"), [("loud.plain", 4), ("loud.now", 1), ("loud.later", 4)])
async def test_an_exception_of_a_broadcast_is_logged_an_event_and_counted_in_the_receipt(
    caplog: pytest.LogCaptureFixture, orc: Orchestrator, loud: AgentGroup, topic: str, count: int
) -> None:
    receipt = orc.broadcast(topic, "item")
    await logged(caplog, "raised LookupError: item", count)
    seen = await receipt.settled(5)
    assert (seen.seen, seen.failed, seen.complete) == (4, count, True)
    await until(lambda: sum(event.times for event in orc.events if isinstance(event, HandlerRaised)) == count)
    event = next(event for event in orc.events if isinstance(event, HandlerRaised))
    assert event.agent == "loud/0"


async def test_a_told_message_that_does_not_fit_is_logged(caplog: pytest.LogCaptureFixture, loud: AgentGroup) -> None:
    loud[0].tell("told", 7)
    (record,) = await logged(caplog, "a message to loud/0 does not fit")
    assert record.levelname == "ERROR"


async def test_an_exception_that_its_caller_gets_is_neither_logged_nor_an_event(
    caplog: pytest.LogCaptureFixture, orc: Orchestrator
) -> None:
    faulty = await orc.spawn(Faulty, name="faulty")
    with pytest.raises(HandlerFailed) as caught:
        await faulty.ask(Faulty.boom, "no")
    assert caught.value.where is not None
    assert str(caught.value) == f"faulty/0.boom raised KeyError: 'no', at {caught.value.where}"
    assert caught.value.where.startswith("agent_cast.py:")
    assert caught.value.where.endswith(" in boom")
    assert "actor.py" not in (caught.value.traceback or "")
    loud = await orc.spawn(Loud, name="loud")
    await loud.ask(Loud.log, logging.ERROR, "afterwards")
    await logged(caplog, "afterwards")
    assert "boom" not in caplog.text
    assert not [event for event in orc.events if isinstance(event, HandlerRaised)]


async def test_events_reach_the_control_client(orc: Orchestrator, loud: AgentGroup) -> None:
    loud[0].tell(Loud.told, "no")
    await until(lambda: any(isinstance(event, HandlerRaised) for event in orc.events))
    async with ControlClient(orc.name) as control:
        assert any(isinstance(event, HandlerRaised) for event in await control.events())


async def test_an_exception_of_stopped_is_logged(caplog: pytest.LogCaptureFixture, orc: Orchestrator) -> None:
    await orc.stop(await orc.spawn(Loud, name="ending"))
    (record,) = await logged(caplog, "ending/0.stopped raised LookupError: at the end")
    assert record.levelname == "ERROR"
