"""Requests of a running system: hosts keep their turns while somebody looks at them, and nothing otherwise."""

import asyncio
import time
from typing import Any

import pytest

from local_models import LoadOptions
from tests.support.agents.until import until
from tests.support.serve.devtools import Chromium
from tests.support.serve.page_cast import Scout
from tests.support.serve.page_client import PageClient, let_in
from tests.support.serve.watched import watched
from three_mode import Agent, LLMRequest, handler, waits
from three_mode.agents.calling.caller import Caller
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.watched import PopulationWatch
from three_mode.agents.wire.watching import WatchOrder
from three_mode.errors import HandlerFailed
from three_mode.options import Account, ConnectionOptions, LimiterOptions, Policies
from three_mode.testing import ScriptedProvider

pytestmark = pytest.mark.timeout(180)


async def listed(page: PageClient, handler: str) -> Any:
    """The newest request to a handler."""

    def there(told: Any) -> bool:
        return any(each["handler"] == handler for each in told["requests"])

    told = await page.told("requests", there)
    return next(each for each in told["requests"] if each["handler"] == handler)


async def drawn(page: PageClient, request: Any, by: str = "time") -> Any:
    reply = await page.http.get("/page/time/request", params={"id": request["id"], "by": by})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_a_request_over_two_hosts_is_a_tree_with_its_wait_and_deadline() -> None:
    async with watched(4, hosts=2) as (_, scouts, address), let_in(address) as page:
        await page.look("requests")
        await page.told("requests")
        busy = asyncio.ensure_future(scouts[1].ask(Scout.wait, 0.4))
        await asyncio.sleep(0.1)
        await scouts[0].ask(Scout.pass_on, "scout/1", "hello", within=20)
        await busy
        request = await listed(page, "pass_on")
        assert (request["name"], request["turns"], request["error"]) == ("scout/0", 2, "")
        found = await drawn(page, request)
        spans = found["tree"]["spans"]
        assert [(span["name"], span["kind"], span.get("parent")) for span in spans] == [
            ("scout/0", "agent", None),
            ("network", "wait", 0),
            ("scout/1", "agent", 0),
            ("mailbox", "wait", 2),
            ("network", "wait", 0),
        ]
        assert spans[1]["end"] == spans[2]["begin"]
        assert spans[4]["begin"] == spans[2]["end"]
        assert 0.05 < spans[3]["end"] - spans[3]["begin"] < request["seconds"]
        assert found["tree"]["waits"]["mailbox"] == spans[3]["end"] - spans[3]["begin"]
        assert 10 < found["tree"]["deadline"] - found["tree"]["begin"] < 20.5
        assert len((await drawn(page, request, "cost"))["boxes"]) == 5
        with pytest.raises(HandlerFailed):
            await scouts[2].ask(Scout.score, "fail it")
        assert (await listed(page, "score"))["error"] == "ValueError"


async def test_nothing_is_kept_once_nobody_looks() -> None:
    async with watched(3) as (orc, scouts, address):
        async with let_in(address) as page:
            await page.look("requests")
            await page.told("requests")
            await scouts[0].ask(Scout.score, "hello")
            await listed(page, "score")
        population = orc._population
        assert population is not None
        await until(lambda: population.watch is None, 15.0)
        assert {type(actor) for actor in population.actors.values()} == {Actor}


async def test_the_view_lists_requests_and_draws_one(browser: Chromium) -> None:
    async with watched(3) as (_, scouts, address), browser.page(address) as tab:
        await tab.until("!!document.querySelector('nav a[href=\"#/time\"]')")
        await tab.evaluate("location.hash = '#/time'")
        await tab.until("document.querySelector('main')?.innerText.includes('By')")
        ends = asyncio.get_running_loop().time() + 30
        shown = False
        while not shown and asyncio.get_running_loop().time() < ends:
            await scouts[0].ask(Scout.pass_on, "scout/1", "hello")
            await asyncio.sleep(0.5)
            shown = await tab.evaluate("!!document.querySelector('table.requests tbody a')")
        await tab.click("table.requests tbody a")
        await tab.until("document.querySelectorAll('table.spans tbody tr').length >= 2")
        assert "scout/0 pass_on" in await tab.text("table.spans")
        assert tab.complaints == []


class Twice(Agent):
    """Asks a model twice at once."""

    @handler
    async def think(self, text: str) -> list[str]:
        request = LLMRequest(messages=[{"role": "user", "content": text}])
        return [reply.content for reply in await asyncio.gather(*[self.llm.chat_completion(request) for _ in "ab"])]


async def test_calls_to_models_have_their_tokens_provider_and_wait_for_the_limiter() -> None:
    async with ScriptedProvider("http/1.1") as provider:
        account = Account(api_key="k", base_url=f"{provider.url}/v1")
        llm = ConnectionOptions(config={"default_provider": "v98", "default_model": "m"}, accounts={"v98": account})
        policies = Policies(limiter=LimiterOptions(at_once=1))
        async with watched(1, llm=llm, policies=policies) as (orc, _, address), let_in(address) as page:
            twice = await orc.spawn(Twice, name="twice")
            await page.look("requests")
            await page.told("requests")
            await twice.ask(Twice.think, "why?", within=30)
            request = await listed(page, "think")
            assert request["tokens"] > 0
            spans = (await drawn(page, request))["tree"]["spans"]
            kinds = sorted((span["kind"], span["name"]) for span in spans)
            assert kinds == [
                ("agent", "twice/0"),
                ("model", "m"),
                ("model", "m"),
                ("provider", "v98"),
                ("provider", "v98"),
                ("wait", "limiter"),
                ("wait", "network"),
                ("wait", "network"),
            ]
            limited = next(span for span in spans if span["name"] == "limiter")
            after = [span for span in spans if span.get("parent") == limited["parent"] and span["kind"] == "provider"]
            assert limited["end"] <= after[0]["begin"]


async def test_calls_to_a_model_of_this_computer_wait_in_its_queue_and_then_compute() -> None:
    llm = ConnectionOptions(config={"default_model": "tiny"}, local=LoadOptions(sequences=1))
    async with watched(1, llm=llm) as (orc, _, address), let_in(address) as page:
        twice = await orc.spawn(Twice, name="twice")
        await twice.ask(Twice.think, "load", within=60)
        await page.look("requests")
        await page.told("requests")
        await twice.ask(Twice.think, "why?", within=60)
        tree = (await drawn(page, await listed(page, "think")))["tree"]
        queued = [span for span in tree["spans"] if span["name"] == "model queue"]
        computed = [span for span in tree["spans"] if span["kind"] == "provider"]
        assert len(queued) == len(computed) == 2
        first = min(computed, key=lambda span: span["begin"])
        waited = max(span["end"] - span["begin"] for span in queued)
        assert waited >= (first["end"] - first["begin"]) / 2, "one behind the other"
        assert tree["waits"]["model queue"] > 0
        assert {span["detail"] for span in computed} == {"computes tiny"}
    assert waits.listeners == [], "nobody is told of waits once nobody looks"


async def test_a_loop_that_was_blocked_hears_of_those_who_look_before_it_counts_no_more() -> None:
    async with watched(2) as (orc, scouts, _):
        population = orc._population
        assert population is not None
        watch = population.watch = PopulationWatch(population, False)
        watch.asked(WatchOrder(flows=True, within=0.2))
        time.sleep(0.8)  # noqa: ASYNC251  # the loop is blocked
        await asyncio.sleep(0.1)
        assert population.watch is watch
        assert watch.asked(WatchOrder(requests=1, within=0.2)).began == watch.began
        assert await scouts[0].ask(Scout.pass_on, "scout/1", "x") == 1.0
        await until(lambda: population.watch is None, 10.0)
        assert {type(actor.caller) for actor in population.actors.values()} == {Caller}


async def test_hosts_keep_few_turns_from_one_order_to_the_next_and_say_how_many_messages_came() -> None:
    async with watched(2, hosts=0) as (orc, scouts, _):
        population = orc._population
        assert population is not None
        population.watch = PopulationWatch(population, False)
        population.watch.asked(WatchOrder(requests=1))
        for _ in range(300):
            await scouts[0].ask(Scout.score, "x")
        report = population.watch.asked(WatchOrder(requests=1))
        assert (len(report.turns), report.messages) == (200, 300)
        await scouts[0].ask(Scout.score, "x")
        report = population.watch.asked(WatchOrder(requests=1, since=report.turns[-1].end))
        assert (report.turns[-1].number, report.messages) == (201, 301)


async def test_many_messages_are_counted_by_some_of_them_and_none_is_left_out_in_the_end() -> None:
    async with watched(2, hosts=0) as (orc, scouts, _):
        population = orc._population
        assert population is not None
        watch = population.watch = PopulationWatch(population, False)
        watch.asked(WatchOrder(flows=True))
        for _ in range(2):  # after the first report one in several is counted
            for number in range(2000):
                await scouts[number % 2].ask(Scout.score, "x")
            watch.asked(WatchOrder(flows=True))
        watch.asked(WatchOrder(flows=True))  # a calm time
        await scouts[0].ask(Scout.score, "x")
        report = watch.asked(WatchOrder(flows=True))
        assert (report.flows, report.messages) == ((("orchestrator", "scout", 4001),), 4001)
