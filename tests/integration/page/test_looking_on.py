"""What a page is told of real agents: flows, one agent, events; and that nothing is counted once nobody looks."""

import asyncio
import logging

import pytest

from tests.support.agents.until import until
from tests.support.serve.page_cast import Scout
from tests.support.serve.page_client import let_in
from tests.support.serve.watched import watched
from three_mode.agents import OrchestratorOptions
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.broadcast import Fanout
from three_mode.errors import HandlerFailed


async def test_flows_count_messages_between_groups_asked_and_broadcast() -> None:
    async with watched(4, hosts=2) as (orc, scouts, address), let_in(address) as page:
        await page.look("flows")
        await page.told("flows")
        for number in range(3):
            await scouts[0].ask(Scout.pass_on, "scout/1", f"hello {number}")
        await (await orc.broadcast("news.eu", {"id": 1})).settled(within=5.0)
        counted: dict[tuple[str, str], int] = {}
        while counted.get(("scout", "scout"), 0) < 3 or counted.get(("orchestrator", "scout"), 0) < 3 + 4:
            for source, target, count in (await page.told("flows"))["flows"]:
                counted[source, target] = counted.get((source, target), 0) + count
        assert counted == {("scout", "scout"): 3, ("orchestrator", "scout"): 7}


async def test_an_agent_shows_its_handlers_messages_errors_and_source() -> None:
    options = OrchestratorOptions(page_content=True)
    async with watched(2, hosts=1, options=options) as (orc, scouts, address), let_in(address) as page:
        assert (await page.told("hello"))["content"] is True
        await page.look("agent", agent="scout/1")
        await page.told("agent", lambda told: told["sight"])
        await scouts[1].ask(Scout.score, "hello")
        with pytest.raises(HandlerFailed, match="fail here"):
            await scouts[1].ask(Scout.score, "fail here")
        await (await orc.broadcast("news.eu", {"id": 7})).settled(within=5.0)
        waiting = asyncio.ensure_future(scouts[1].ask(Scout.wait, 1.0))
        behind = asyncio.ensure_future(scouts[1].ask(Scout.score, "behind"))
        sight = (await page.told("agent", lambda told: told["sight"]["waiting"]))["sight"]
        assert [entry["handler"] for entry in sight["waiting"]] == ["score"]
        await asyncio.gather(waiting, behind)
        sight = (await page.told("agent", lambda told: len(told["sight"]["messages"]) == 5))["sight"]
        handlers = {handler["name"]: handler for handler in sight["handlers"]}
        assert (handlers["score"]["count"], handlers["score"]["errors"]) == (3, 1)
        assert handlers["read"]["count"] == 1
        assert handlers["read"]["topics"] == ["news.*"]
        assert handlers["wait"]["p50"] >= 0.9
        assert handlers["score"]["file"].endswith("page_cast.py")
        assert sight["file"].endswith("page_cast.py")
        assert sight["line"] < handlers["score"]["line"]
        seen = {(entry["handler"], entry["outcome"], entry["content"]) for entry in sight["messages"]}
        assert ("read", "broadcast", '{"id":7}') in seen
        assert any(handler == "score" and "hello" in content and out == "done" for handler, out, content in seen)
        assert [entry["handler"] for entry in sight["errors"]] == ["score"]
        assert "fail here" in sight["errors"][0]["outcome"]


async def test_what_messages_say_is_not_shown_unless_the_program_allows_it() -> None:
    async with watched(1) as (orc, scouts, address), let_in(address) as page:
        assert (await page.told("hello"))["content"] is False
        await page.look("agent", "events", agent="scout/0")
        await page.told("agent", lambda told: told["sight"])
        await scouts[0].ask(Scout.score, "a secret")
        await orc.ref("scout/0").tell("no_such_handler", "a secret")
        told = await page.told("agent", lambda told: told["sight"]["messages"])
        assert told["sight"]["messages"][0]["content"] == ""
        assert "secret" not in str(told)
        letter = await page.event("dead_letter")
        assert "scout/0" in letter[3]
        assert "secret" not in letter[3]


async def test_nothing_is_counted_before_a_page_looks_and_after_it_has_gone() -> None:
    async with watched(3) as (orc, scouts, address):
        population = orc._population
        assert population is not None
        kinds = lambda: {type(actor) for actor in population.actors.values()}  # noqa: E731
        async with let_in(address) as page:
            await page.look("map")
            await page.told("table")
            assert population.watch is None, "the map alone counts nothing"
            await page.look("flows", "agent", agent="scout/1")
            await page.told("flows")
            await scouts[1].ask(Scout.score, "hello")
            assert kinds() != {Actor}
            await scouts.gather(Scout.score, "all", within=5.0)
        await until(lambda: population.watch is None, 10.0)
        assert kinds() == {Actor}
        assert {type(fanout) for fanout in population.fanouts.values()} == {Fanout}
        assert await scouts[1].ask(Scout.score, "again") == 5.0


async def test_events_tell_of_hosts_agents_receipts_and_failures() -> None:
    async with watched(4, hosts=2) as (orc, scouts, address), let_in(address) as page:
        await page.look("events")
        await page.told("events")
        await (await orc.broadcast("news.eu", {"fail": "on purpose"})).settled(within=5.0)
        assert "on purpose" in (await page.event("handler_raised"))[3]
        await (await orc.broadcast("news.eu", {"id": 2})).settled(within=5.0)
        receipt = await page.event("receipt")
        assert receipt[2] in ("host-1, host-2", "host-1", "host-2")  # those that have answered by the same second
        assert receipt[3].startswith("news.eu: 4 of 4 agents" if "," in receipt[2] else "news.eu: 2 of 2 agents")
        assert (await page.steer("kill", "host-1")).status_code == 204
        assert "host-1" in (await page.event("steered"))[3]
        assert "host-1" in (await page.event("host_back"))[3]
        assert await scouts[0].ask(Scout.score, "back") == 4.0


async def test_steering_acts_is_logged_and_says_what_failed(caplog: object) -> None:
    async with watched(2, hosts=1) as (orc, _, address), let_in(address) as page:
        await page.look("map", "events")
        await page.told("table")
        for act, state in (("pause", "paused"), ("resume", "idle")):
            assert (await page.steer(act, "scout/1")).status_code == 204
            assert {agent.name: agent.state for agent in (await orc.table()).agents}["scout/1"] == state
        assert (await page.steer("restart", "scout/0")).status_code == 204
        assert {agent.name: agent.restarts for agent in (await orc.table()).agents}["scout/0"] == 1
        assert (await page.steer("log_level", "city.scouts", level="DEBUG")).status_code == 204
        assert logging.getLogger("city.scouts").level == logging.DEBUG
        refused = await page.steer("stop", "scout/77")
        assert refused.status_code == 404, refused.text
        assert "scout/77" in refused.json()["error"]["message"]
        assert (await page.steer("kill", "host-9")).status_code == 404
        assert (await page.steer("explode", "scout/1")).status_code == 400
        assert (await page.steer("log_level", "city.scouts", level="LOUD")).status_code == 400
        assert (await page.steer("stop", "scout/1")).status_code == 204
        assert [agent.name for agent in (await orc.table()).agents] == ["scout/0"]
    logged = [record.getMessage() for record in caplog.records if record.name == "three_mode.page"]  # type: ignore[attr-defined]
    assert any("session" in text and "from 127.0.0.1" in text and "pause scout/1" in text for text in logged)
    assert any("stop scout/77, which failed" in text for text in logged)
