"""A provider that nobody named fails later: the next available one answers, with its default model."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.http2.servers import CERTIFICATES
from tests.support.providers.servers import QUICK, account, connected, hello, several, transport
from three_mode import LLMConnection, errors
from three_mode.connection import Account, ConnectionOptions, Observing
from three_mode.messages import Start, Step
from three_mode.policies import HedgeOptions, Policies
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn

CONFIG = {"providers": {"openai": {"model": "default-of-openai"}}}
BREAK: dict[str, Callable[[ScriptedProvider], None]] = {
    "500": lambda s: s.always(Answer(status=500)),
    "401": lambda s: s.always(Answer(status=401)),
    "429": lambda s: s.always(Answer(status=429, headers=((b"retry-after", b"30"),))),
    "cut": lambda s: s.always(Turn(), fault=Fault(cut_after=-1)),
}


@asynccontextmanager
async def detected(
    policies: Policies | None = None, **options: Any
) -> AsyncIterator[tuple[LLMConnection, Mapping[str, ScriptedProvider]]]:
    """Two available providers, of which the first in order is found; nobody names one."""
    async with AsyncExitStack() as stack:
        servers = {
            name: await stack.enter_async_context(ScriptedProvider("h2", certificates=CERTIFICATES))
            for name in ("anthropic", "openai")
        }
        settings = ConnectionOptions(
            config=CONFIG,
            detection_order=("anthropic", "deepseek", "openai"),
            accounts={name: account(name, server) for name, server in servers.items()},
            transport=transport("h2"),
        )
        llm = LLMConnection(policies=policies or Policies(retry=QUICK), options=settings, **options)
        yield await stack.enter_async_context(llm), servers


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", BREAK)
async def test_the_next_available_provider_answers_with_its_default_model(how: str, streamed: bool) -> None:
    async with detected() as (llm, servers):
        assert (await llm.chat_completion(hello())).provider == "anthropic"
        BREAK[how](servers["anthropic"])
        if streamed:
            stream = llm.stream(hello())
            await stream.text()
            reply = stream.response()
        else:
            reply = await llm.chat_completion(hello())
        assert (reply.content, reply.provider, reply.model) == ("Hello world!", "openai", "default-of-openai")
        assert [step.kind for step in reply.steps] == ["attempt", "switched", "attempt"]
        assert servers["openai"].seen[-1].json["model"] == "default-of-openai"


async def test_a_slow_provider_is_no_failed_one() -> None:
    async with detected() as (llm, servers):
        servers["anthropic"].always(Turn(), fault=Fault(stall_before_head=1.8))
        reply = await llm.chat_completion(hello())
        assert (reply.provider, [step.kind for step in reply.steps]) == ("anthropic", ["attempt"])
        assert servers["anthropic"].seen[-1].json.get("stream") in (None, False), "nor is it streamed to see"


async def test_a_refused_request_is_asked_nobody_else() -> None:
    async with detected() as (llm, servers):
        servers["anthropic"].always(Answer(status=400))
        with pytest.raises(errors.InvalidRequest):
            await llm.chat_completion(hello())
        assert not servers["openai"].seen


@pytest.mark.parametrize("named", ["provider", "prefix", "policies"])
async def test_who_names_a_provider_means_that_one(named: str) -> None:
    policies = Policies(retry=QUICK, fallback=None) if named == "policies" else None
    async with detected(policies) as (llm, servers):
        servers["anthropic"].always(Answer(status=500))
        request = {
            "provider": hello(provider="anthropic"),
            "prefix": hello("anthropic/m"),
            "policies": hello(),
        }[named]
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(request)
        assert not servers["openai"].seen
    async with connected(options=ConnectionOptions(accounts={"anthropic": Account(api_key="a-key")})) as (llm, server):
        server.always(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello())


async def test_one_request_to_a_provider_that_is_not_the_default() -> None:
    async with several(("openai", "anthropic")) as (llm, servers):
        for request in (hello("anthropic/claude-sonnet-4-5"), hello("claude-sonnet-4-5", provider="anthropic")):
            reply = await llm.chat_completion(request)
            assert (reply.provider, reply.model) == ("anthropic", "claude-sonnet-4-5")
            stream = llm.stream(request)
            await stream.text()
            assert stream.response().provider == "anthropic"
        assert {seen.json["model"] for seen in servers["anthropic"].seen} == {"claude-sonnet-4-5"}
        assert not servers["openai"].seen
        assert (await llm.chat_completion(hello("openai/m"))).provider == "openai"
        assert servers["openai"].seen[0].json["model"] == "m"
        assert await llm.ask("Hello!", model="m", provider="anthropic") == "Hello world!"
        assert (await llm.embed("openai/e5", "text")).provider == "openai"


async def test_its_key_is_what_a_provider_needs() -> None:
    async with connected() as (llm, _):
        with pytest.raises(errors.ConfigurationError, match="no key for deepseek"):
            await llm.chat_completion(hello("deepseek/deepseek-chat"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_switch_is_told_at_its_moment(streamed: bool, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, Step]] = []
    seen_then: list[int] = []

    def listen(request_id: str, step: Step) -> None:
        told.append((request_id, step))
        seen_then.append(len(servers["openai"].seen))

    async with detected(observe=Observing(step=listen)) as (llm, servers):
        servers["anthropic"].always(Answer(status=500))
        if streamed:
            async with llm.stream(hello()) as stream:
                start = await anext(stream)
                assert isinstance(start, Start)
                assert [step.kind for step in start.steps] == ["attempt", "switched", "attempt"]
                await stream.text()
            reply = stream.response()
        else:
            reply = await llm.chat_completion(hello())
        assert tuple(step for _, step in told) == reply.steps
        assert {request_id for request_id, _ in told} == {reply.request_id}
        assert seen_then == [0, 0, 0], "before the other provider was asked"
        (switched,) = [record for record in caplog.records if record.message == "llm_switched"]
        assert (vars(switched)["provider"], vars(switched)["request_id"]) == ("openai", reply.request_id)


async def test_who_watches_steps_later_hears_them_until_it_leaves_and_breaks_no_call() -> None:
    kinds: list[str] = []

    def listen(_: str, step: Step) -> None:
        kinds.append(step.kind)
        raise KeyError("a bug of the observer")

    async with connected() as (llm, _):
        await llm.chat_completion(hello())
        leave = llm.watch_steps(listen)
        await llm.chat_completion(hello())
        assert kinds == ["attempt"]
        leave()
        leave()
        await llm.chat_completion(hello())
        assert kinds == ["attempt"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_hedge_asks_the_same_provider_again(streamed: bool) -> None:
    async with detected(Policies(retry=QUICK, hedge=HedgeOptions(after=0.1))) as (llm, servers):
        servers["anthropic"].next(Turn(), fault=Fault(stall_before_head=60))
        if streamed:
            assert await llm.stream(hello()).text() == "Hello world!"
        else:
            reply = await llm.chat_completion(hello())
            assert [(step.kind, step.provider) for step in reply.steps][1:] == [
                ("hedged", "anthropic"),
                ("attempt", "anthropic"),
            ]
        assert len(servers["anthropic"].seen) == 2
        assert not servers["openai"].seen
