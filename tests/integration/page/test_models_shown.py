"""Models and money, in a real browser: what hosts and their models say, while somebody looks."""

import asyncio

import pytest

from tests.support.page.model_cast import Payer
from tests.support.serve.devtools import Chromium
from three_mode import LLMRequest, Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions
from three_mode.options import Account, ConnectionOptions, Policies
from three_mode.policies import Budget
from three_mode.testing import Answer, ScriptedProvider

pytestmark = pytest.mark.timeout(240)
ROWS = "[...document.querySelectorAll('table.{kind} tbody tr')].map((row) => [...row.cells].map((c) => c.innerText))"


def rows(kind: str) -> str:
    return ROWS.replace("{kind}", kind)


async def keep_busy(orc: Orchestrator) -> None:
    said = [{"role": "user", "content": "Count"}]
    while True:
        request = LLMRequest(model="agent:brain", messages=said, max_tokens=1000, extra={"ignore_eos": True})
        async with orc.llm.stream(request) as chunks:
            async for _ in chunks:
                pass


async def test_models_money_budgets_and_breakers_are_shown_and_asked_for_only_then(browser: Chromium) -> None:
    async with ScriptedProvider("http/1.1") as provider:
        options = ConnectionOptions(
            config={"default_provider": "openai"},
            accounts={"openai": Account(api_key="k", base_url=provider.url + "/v1")},
        )
        policies = Policies(budgets=(Budget(limit=5, label="<b>job</b>"),))
        patient = OrchestratorOptions(hosts=HostOptions(start_within=90))
        async with Orchestrator(hosts=1, llm=options, policies=policies, options=patient) as orc:
            (payer,) = await orc.spawn(Payer, 1, name="payer")
            await orc.model("tiny", name="brain", within=90)
            await payer.ask(Payer.pay, "gpt-5", "<b>job</b>", within=30)
            await payer.ask(Payer.pay, "agent:brain", within=30)
            provider.always(Answer(status=500))
            for _ in range(5):
                failing = LLMRequest(model="gpt-5", messages=[{"role": "user", "content": "Hello!"}], within=5)
                await asyncio.gather(orc.llm.chat_completion(failing), return_exceptions=True)
            address = await orc.page()
            async with browser.page(address) as page:
                await page.until("!!document.querySelector('nav a[href=\"#/models\"]')")
                assert await page.evaluate(rows("local")) == []
                await page.evaluate("location.hash = '#/models'")
                (tiny,) = await page.until(f"{rows('local')}.length === 1 && {rows('local')}")
                assert tiny[0] == "tiny"
                assert tiny[1].startswith("brain/0 on ")
                assert tiny[5].startswith("0 of ")
                providers = {row[0]: row for row in await page.evaluate(rows("providers"))}
                assert providers["openai"][1] == "1"
                assert providers["openai"][5].startswith("$0.")
                assert "agent" in providers
                labels = {row[0] for row in await page.evaluate(rows("labels"))}
                assert labels == {"<b>job</b>", "(no label)"}
                budgets = await page.evaluate(rows("budgets"))
                assert {row[0] for row in budgets} == {"the budget of label <b>job</b>"}
                assert any("of $5.00" in row[2] and row[2] != "$0 of $5.00 (0 %)" for row in budgets)
                (breaker,) = await page.evaluate(rows("breakers"))
                assert breaker[:2] == ["openai/gpt-5", "this endpoint"]
                assert breaker[2].startswith("open: tried again in")
                work = asyncio.create_task(keep_busy(orc))
                await page.until(f"{rows('local')}[0][5].startsWith('1 of') && parseFloat({rows('local')}[0][2]) > 0")
                work.cancel()
                await asyncio.wait([work])
                await page.until(f"{rows('local')}[0][11] === '1'")
                await page.size(400, 800)
                assert await page.evaluate("document.documentElement.scrollWidth <= 400")
                captions = "[...document.querySelectorAll('table')].every((each) => each.caption?.innerText)"
                assert await page.evaluate(captions)
                assert page.complaints == []
