"""Wrong types at the API: each is an error of three-mode that says what to pass."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Scout
from three_mode import LLMRequest, Orchestrator
from three_mode.agents import AgentGroup, Restart
from three_mode.errors import BadCall, ConfigurationError, InvalidRequest, ThreeModeError

pytestmark = pytest.mark.asyncio(loop_scope="module")
TIMES: list[Any] = ["2", math.nan, math.inf, [], 1j]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as running:
        await running.spawn(Scout, 2, name="scout")
        yield running


@pytest.fixture
def scouts(orc: Orchestrator) -> AgentGroup:
    return orc.group("scout")


@pytest.mark.parametrize("within", TIMES)
async def test_a_time_is_a_number_of_seconds(orc: Orchestrator, scouts: AgentGroup, within: Any) -> None:
    works = (
        lambda: scouts[0].ask(Scout.score, "x", within=within),
        lambda: scouts.gather(Scout.score, "x", within=within),
        lambda: orc.any("scout").ask(Scout.score, "x", within=within),
        lambda: orc.spawn(Scout, name="other", within=within),
        lambda: orc.model("tiny", name="brain", within=within),
        lambda: orc.stop("scout/0", within=within),
        lambda: orc.restart("scout/0", within=within),
        lambda: orc.pause("scout/0", within=within),
        lambda: orc.resume("scout/0", within=within),
        lambda: orc.table(within=within),
        lambda: orc.dead_letters(within=within),
        lambda: orc.broadcast("news.x", {}).settled(within),
    )
    for work in works:
        with pytest.raises(BadCall, match="within is a number of seconds, not") as caught:
            await work()
        assert caught.value.argument == "within"
    with pytest.raises(BadCall, match="within is a number of seconds"):
        scouts[0].stream(Scout.explain, "x", within=within)
    assert "other/0" not in orc.bus.names()


async def test_a_role_keeps_no_place_of_a_call_that_was_refused(orc: Orchestrator) -> None:
    with pytest.raises(BadCall):
        await orc.any("scout").ask(Scout.score, "x", within="2")  # type: ignore[call-overload]
    assert not any(orc.any("scout")._caller.roles._in_flight.values())


@pytest.mark.parametrize("count", ["5", 2.5, [], {}])
async def test_a_count_is_a_number_of_agents(orc: Orchestrator, count: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"count is a number of agents, not .*spawn\(Scout, 5\)"):
        await orc.spawn(Scout, count, name="other")


async def test_spawn_takes_a_class(orc: Orchestrator) -> None:
    spawn: Any = orc.spawn
    with pytest.raises(ConfigurationError, match=r"spawn takes the class \(spawn\(Scout, \.\.\."):
        await spawn(Scout.__new__(Scout), 2)
    for kind in ("Scout", None, 5, int):
        with pytest.raises(ConfigurationError, match="is no Agent"):
            await spawn(kind, 2)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": 5}, "5 is no name"),
        ({"roles": 5}, "roles are several names, not 5"),
        ({"roles": [5]}, "5 is no name"),
        ({"restart": 5}, "a restart strategy is one of"),
    ],
)
async def test_the_rest_of_a_spawn(orc: Orchestrator, fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await orc.spawn(Scout, 1, **fields)


@pytest.mark.parametrize("whom", [5, None, [5]])
async def test_whom_to_stop(orc: Orchestrator, whom: Any) -> None:
    for verb in (orc.stop, orc.restart, orc.pause, orc.resume):
        with pytest.raises(ConfigurationError, match="is no agent"):
            await verb(whom)


async def test_names_and_topics_are_texts(orc: Orchestrator, scouts: AgentGroup) -> None:
    wrong: Any = 5
    for verb in (orc.ref, orc.any, orc.group):
        with pytest.raises(BadCall, match="a name is a text, not 5"):
            verb(wrong)
    with pytest.raises(BadCall, match="a topic is a text"):
        orc.broadcast(wrong, {})
    with pytest.raises(ConfigurationError, match="5 is no handler"):
        await scouts[0].ask(wrong, "x")
    for quorum in ("2", 1.5):
        with pytest.raises(BadCall, match="quorum is a number of agents"):
            await scouts.gather(Scout.score, "x", quorum=quorum)  # type: ignore[call-overload]


@pytest.mark.parametrize("given", ["hi", {"messages": []}, None, 5])
async def test_a_connection_takes_requests(orc: Orchestrator, given: Any) -> None:
    llm = orc.llm
    with pytest.raises(InvalidRequest, match=r"chat_completion takes an LLMRequest, not .*llm\.ask"):
        await llm.chat_completion(given)
    with pytest.raises(InvalidRequest, match="stream takes an LLMRequest"):
        llm.stream(given)
    with pytest.raises(InvalidRequest, match="estimate takes an LLMRequest"):
        llm.estimate(given)
    (outcome,) = await llm.batch([given])
    assert isinstance(outcome, InvalidRequest)
    with pytest.raises(InvalidRequest, match="batch takes a list"):
        await llm.batch(5)
    with pytest.raises(InvalidRequest):
        LLMRequest(messages=[{"role": "user", "content": "x"}], within="2")  # type: ignore[arg-type, list-item]


@pytest.mark.parametrize("hosts", ["2", 1.5, None])
async def test_hosts_are_a_number(hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="hosts is a number of processes"):
        Orchestrator(hosts=hosts)


@pytest.mark.parametrize("fields", [{"limit": "2"}, {"within": math.nan}, {"wait": "1"}, {"wait_at_most": None}])
async def test_a_restart_has_numbers(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="is a number, not"):
        Restart(**fields)


async def test_awaiting_what_was_told_to_a_group_waits_for_all(orc: Orchestrator, scouts: AgentGroup) -> None:
    sent = scouts.tell(Scout.read, {"id": 1})
    assert len(sent) == 2
    await sent
    gone = AgentGroup("nobody", range(2), scouts._caller)
    with pytest.raises(ThreeModeError, match="nobody/0"):
        await gone.tell("read", {"id": 1})
