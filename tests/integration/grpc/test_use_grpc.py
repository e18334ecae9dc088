"""`use_grpc`: gRPC where a provider has it, HTTP where that is not there; and a rollout as a route."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.grpc.peer import Peer, running
from three_mode import LLMConnection, LLMRequest, errors, sync
from three_mode.channels.grpc_options import GRPCOptions
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import LLMResponse
from three_mode.policies import FallbackOptions, MonotonicClock, Policies, RetryOptions, Route, Target
from three_mode.providers import Profile, register
from three_mode.testing import ScriptedProvider
from three_mode.testing.script import Answer, Turn

MODELS = "tests.support.grpc.models"
ONCE = Policies(retry=RetryOptions(attempts=1))
HTTP = "over HTTP"


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with running("aio", MODELS) as peer:
        yield peer


@pytest.fixture(scope="module")
def other() -> Iterator[Peer]:
    """A server of gRPC that has no models."""
    with running("aio") as peer:
        yield peer


@pytest.fixture
async def rest() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Turn(text=(HTTP,)))
        yield provider


def ask(model: str = "echo", **fields: Any) -> LLMRequest:
    return LLMRequest(model=model, messages=[{"role": "user", "content": "over gRPC"}], **fields)


def connection(rest: ScriptedProvider, use_grpc: bool | str, **options: Any) -> LLMConnection:
    own = ConnectionOptions(**options)
    return LLMConnection(base_url=rest.url + "/v1", use_grpc=use_grpc, policies=ONCE, options=own, timeout=20)


def steps(reply: LLMResponse) -> list[tuple[str, str | None]]:
    return [(step.kind, step.why and step.why.partition(":")[0]) for step in reply.steps]


async def test_grpc_answers_where_it_is_there(peer: Peer, rest: ScriptedProvider) -> None:
    async with connection(rest, peer.url) as llm:
        reply = await llm.chat_completion(ask())
        assert (reply.content, reply.provider) == ("over gRPC", "custom")
        assert steps(reply) == [("attempt", "over gRPC")]
        assert await llm.stream(ask()).text() == "over gRPC "
        assert (await llm.embed("vectors", ["a"])).vectors == ((1.0, 0.5),)
    assert not rest.seen


async def nobody(rest: ScriptedProvider, other: Peer) -> str:
    with running("threads") as peer:
        pass
    return peer.url


async def no_models(rest: ScriptedProvider, other: Peer) -> str:
    return other.url


async def plain_http(rest: ScriptedProvider, other: Peer) -> str:
    return f"grpc://127.0.0.1:{rest.port}"


@pytest.mark.parametrize("where", [nobody, no_models, plain_http])
async def test_http_answers_where_grpc_is_not_there(where: Any, rest: ScriptedProvider, other: Peer) -> None:
    """Nobody listens, the server has no such service, or it speaks HTTP/1.1 alone: the first call says so in a step,
    and the next ones do not try again."""
    async with connection(rest, await where(rest, other)) as llm:
        first = await llm.chat_completion(ask())
        assert (first.content, first.provider) == (HTTP, "custom")
        kinds = [kind for kind, _ in steps(first)]
        assert kinds == ["attempt", "switched", "attempt"]
        assert "over gRPC" in (first.steps[1].why or "")
        again = await llm.chat_completion(ask())
        assert again.content == HTTP
        assert [kind for kind, _ in steps(again)] == ["routed", "attempt"]
        assert "over HTTP" in (again.steps[0].why or "")
        assert await llm.stream(ask()).text() == HTTP


async def test_a_stream_is_the_first_to_find_no_grpc(rest: ScriptedProvider, other: Peer) -> None:
    async with connection(rest, other.url) as llm:
        stream = llm.stream(ask())
        assert await stream.text() == HTTP
        assert [step.kind for step in stream.response().steps] == ["attempt", "switched", "attempt"]


async def test_the_same_place_is_tried_where_none_is_named(rest: ScriptedProvider) -> None:
    """A server of one's own may speak both on one port."""
    async with connection(rest, True) as llm:
        assert (await llm.chat_completion(ask())).content == HTTP


class LaterClock(MonotonicClock):
    """A clock that a test sets forward."""

    ahead = 0.0

    def now(self) -> float:  # type: ignore[override]
        return time.monotonic() + self.ahead


async def test_grpc_is_tried_again_after_a_while(peer: Peer, rest: ScriptedProvider, other: Peer) -> None:
    clock = LaterClock()
    async with connection(rest, other.url, clock=clock, grpc=GRPCOptions(remember=60.0)) as llm:
        for _ in range(2):
            assert (await llm.chat_completion(ask(within=1e6))).content == HTTP
        clock.ahead = 61.0
        reply = await llm.chat_completion(ask(within=1e6))
        assert [step.kind for step in reply.steps] == ["attempt", "switched", "attempt"]


async def test_http_does_not_repeat_what_the_provider_refused(peer: Peer, rest: ScriptedProvider) -> None:
    async with connection(rest, peer.url) as llm:
        for model, kind in (
            ("ours:AuthenticationError", errors.AuthenticationError),
            ("ours:RateLimit", errors.RateLimit),
            ("fails:INVALID_ARGUMENT", errors.InvalidRequest),
            ("fails:UNAVAILABLE", errors.ProviderOverloaded),
        ):
            with pytest.raises(kind):
                await llm.chat_completion(ask(model))
    assert not rest.seen


async def test_the_error_of_http_is_the_error_of_the_call(rest: ScriptedProvider, other: Peer) -> None:
    rest.always(Answer(status=401, pieces=(b'{"error": {"message": "no"}}',)))
    async with connection(rest, other.url) as llm:
        with pytest.raises(errors.AuthenticationError):
            await llm.chat_completion(ask())


async def test_a_provider_says_where_it_has_grpc(peer: Peer, rest: ScriptedProvider) -> None:
    register(Profile(name="bothways", base_url=rest.url + "/v1", grpc_url=peer.url))
    async with LLMConnection(provider="bothways", api_key="k", use_grpc=True) as llm:
        reply = await llm.chat_completion(ask())
        assert (reply.content, reply.provider) == ("over gRPC", "bothways")
    async with LLMConnection(provider="bothways", api_key="k") as llm:
        assert (await llm.chat_completion(ask())).content == HTTP


async def test_an_account_or_the_config_file_may_say_it(peer: Peer, rest: ScriptedProvider) -> None:
    account = Account(base_url=rest.url + "/v1", grpc_url=peer.url)
    options = ConnectionOptions(accounts={"custom": account})
    async with LLMConnection(provider="custom", use_grpc=True, options=options) as llm:
        assert (await llm.chat_completion(ask())).content == "over gRPC"
    table = {"providers": {"openai": {"base_url": rest.url + "/v1", "grpc_url": peer.url}}}
    async with LLMConnection("openai", "k", use_grpc=True, options=ConnectionOptions(config=table)) as llm:
        assert (await llm.chat_completion(ask())).content == "over gRPC"


def test_a_provider_without_it_is_an_error_at_once() -> None:
    with pytest.raises(errors.ConfigurationError, match="no address of gRPC"):
        LLMConnection("openai", "k", use_grpc=True)
    with pytest.raises(errors.ConfigurationError, match="base_url"):
        LLMConnection(use_grpc="grpc://127.0.0.1:50051")


def test_code_without_a_loop(peer: Peer) -> None:
    with sync.LLMConnection(base_url="http://127.0.0.1:9/v1", use_grpc=peer.url) as llm:
        assert llm.chat_completion(ask()).content == "over gRPC"


def rollout(share: float) -> Policies:
    targets = (Target("both", "echo", 100 - share), Target("both", "echo", share, grpc=True))
    return Policies(
        retry=RetryOptions(attempts=1),
        routes=(Route("chat", targets=targets, by="split"),),
        fallback=FallbackOptions(first_content=60.0),  # a busy machine switches nobody's side
    )


async def sides(share: float, peer: Peer, rest: ScriptedProvider, users: int = 200) -> dict[str, str]:
    """Which side answers each user, asked twice."""
    register(Profile(name="both", base_url=rest.url + "/v1", grpc_url=peer.url))
    async with LLMConnection("both", "k", policies=rollout(share), timeout=60) as llm:

        async def of(user: str) -> str:
            first, second = [
                (await llm.chat_completion(ask("chat", metadata={"user": user}))).content.strip() for _ in range(2)
            ]
            assert first == second  # each user stays on one side
            return first

        names = [f"user-{number}" for number in range(users)]
        return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))


async def test_a_rollout_takes_a_tenth_first_and_then_more(peer: Peer, rest: ScriptedProvider) -> None:
    tenth, half = await sides(10, peer, rest), await sides(50, peer, rest)
    assert 5 <= Counter(tenth.values())["over gRPC"] <= 45  # of 200; what it is follows from the users' names alone
    assert 70 <= Counter(half.values())["over gRPC"] <= 130
    early = {user for user, side in tenth.items() if side == "over gRPC"}
    assert early <= {user for user, side in half.items() if side == "over gRPC"}  # nobody is moved back


async def test_a_rollout_falls_back_and_says_it(other: Peer, rest: ScriptedProvider) -> None:
    register(Profile(name="both", base_url=rest.url + "/v1", grpc_url=other.url))
    async with LLMConnection("both", "k", policies=rollout(100), timeout=20) as llm:
        first = await llm.chat_completion(ask("chat", metadata={"user": "me"}))
        assert first.content == HTTP
        assert [step.kind for step in first.steps] == ["routed", "attempt", "switched", "attempt"]
        again = await llm.chat_completion(ask("chat", metadata={"user": "me"}))
        assert [step.kind for step in again.steps] == ["routed", "routed", "attempt"]
