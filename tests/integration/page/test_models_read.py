"""Figures of models and money, read over a real bus."""

import asyncio
from decimal import Decimal

import msgspec

from tests.support.page.model_cast import Payer
from three_mode import LLMConnection, LLMRequest, Orchestrator
from three_mode.agents import HostOptions, OrchestratorOptions
from three_mode.options import Account, ConnectionOptions, Policies
from three_mode.page.feed import Feed
from three_mode.page.models_view import ModelsMessage
from three_mode.page.views.models import HERE, ModelsView
from three_mode.policies import Budget
from three_mode.testing import Answer, ScriptedProvider

PATIENT = OrchestratorOptions(hosts=HostOptions(start_within=90))
BUDGETS = (Budget(limit=5, label="job"),)


def request(model: str, text: str = "Hello!", most: int = 8) -> LLMRequest:
    return LLMRequest(model=model, messages=[{"role": "user", "content": text}], max_tokens=most)


async def test_models_and_money_of_all_processes_of_a_bus() -> None:
    async with ScriptedProvider("http/1.1") as provider:
        options = ConnectionOptions(
            config={"default_provider": "openai"},
            accounts={"openai": Account(api_key="k", base_url=provider.url + "/v1")},
        )
        async with Orchestrator(hosts=1, llm=options, policies=Policies(budgets=BUDGETS), options=PATIENT) as orc:
            view = ModelsView(orc.llm, orc.bus)
            nothing = await view.read(within=20)
            assert (nothing.models, nothing.total.calls, nothing.silent) == ((), 0, ())
            payers = await orc.spawn(Payer, 2, name="payer")
            await orc.model("tiny", name="brain", within=60)
            await payers[0].ask(Payer.pay, "gpt-5", "job", within=20)
            await payers[1].ask(Payer.pay, "agent:brain", within=20)
            await orc.llm.chat_completion(request("gpt-5"))
            await view.read(within=20)
            async with orc.llm.stream(request("agent:brain", "Repeat: a b c d e f", 32)) as chunks:
                async for _ in chunks:
                    pass
            message = await view.read(within=20)
    (tiny,) = message.models
    assert (tiny.name, tiny.agent, tiny.finished, tiny.running) == ("tiny", "brain/0", 2, 0)
    assert tiny.where not in ("", HERE)
    assert tiny.tokens_per_second is not None
    assert tiny.tokens_per_second > 0
    assert 0 < tiny.used_tokens <= tiny.pool
    assert tiny.batch is not None
    assert 0 < tiny.batch <= 1  # one stream: at most a token a step
    providers = {row.name: row for row in message.providers}
    assert providers["openai"].calls == 2
    assert providers["agent"].calls == 2
    paid = providers["openai"]
    assert (paid.input_tokens, paid.output_tokens, paid.unpriced) == (24, 6, 0)
    assert paid.cost > 0
    labels = {row.name: row for row in message.labels}
    assert labels["job"].cost + labels["(no label)"].cost == message.total.cost == paid.cost
    spent = {(budget.where, budget.limit - budget.left) for budget in message.budgets}
    assert {amount for _, amount in spent} >= {Decimal(0), labels["job"].cost}
    assert {row.name: row.requests for row in message.calls}["openai/gpt-5"] == 2


async def test_a_connection_alone_shows_breakers_and_its_own_models() -> None:
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Answer(status=500))
        options = ConnectionOptions(accounts={"openai": Account(api_key="k", base_url=provider.url + "/v1")})
        async with LLMConnection("openai", options=options, max_retries=0) as llm:
            for _ in range(5):
                await asyncio.gather(llm.chat_completion(request("m")), return_exceptions=True)
            await llm.chat_completion(request("tiny"))
            message = await ModelsView(llm, None).read()
    assert [(row.target, row.state, row.where) for row in message.breakers] == [("openai/m", "open", HERE)]
    assert 0 < message.breakers[0].seconds <= 60
    (tiny,) = message.models
    assert (tiny.name, tiny.where, tiny.agent, tiny.finished) == ("tiny", HERE, "", 1)
    assert {row.name: row.failed for row in message.calls}["openai/m"] == 5


async def test_it_reads_while_somebody_looks_and_knows_no_rate_of_the_time_before() -> None:
    async with LLMConnection() as llm:
        await llm.chat_completion(request("tiny"))
        feed = Feed([ModelsView(llm, None)])
        reader = feed.open()
        assert reader is not None

        async def rate() -> float | None:
            text = await asyncio.wait_for(reader.get(), 30)
            assert text is not None
            return msgspec.json.decode(text, type=ModelsMessage).models[0].tokens_per_second

        feed.look(reader, ["models"])
        assert [await rate(), await rate()] == [None, 0.0]
        feed.look(reader, [])
        async with asyncio.timeout(30):
            while feed.running:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.02)
        feed.look(reader, ["models"])
        assert await rate() is None
        feed.close(reader)
        assert feed.running == []
