"""`LLMConnection` over gRPC, against services of models on grpcio: calls, errors, policies, deadlines, cancels."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.grpc.peer import Peer, running
from three_mode import LLMConnection, LLMRequest, errors, sync
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import CacheHints, Finish, Start, TextDelta, UsageUpdate
from three_mode.policies import (
    BreakerOptions,
    Budget,
    CacheOptions,
    HedgeOptions,
    Policies,
    Price,
    Prices,
    RetryOptions,
)
from three_mode.testing.certificates import Certificates
from transports.http2 import PoolOptions

MODELS = "tests.support.grpc.models"
ONCE = Policies(retry=RetryOptions(attempts=1))
SOON = RetryOptions(attempts=3, first=0.01, most=0.02)


@pytest.fixture(scope="module", params=["aio", "threads"])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    with running(request.param, MODELS) as peer:
        yield peer


@pytest.fixture
async def llm(peer: Peer) -> AsyncIterator[LLMConnection]:
    async with LLMConnection(base_url=peer.url, api_key="sk-secret-key-1", timeout=20, policies=ONCE) as llm:
        yield llm


def ask(model: str, text: str = "one two three", **fields: Any) -> LLMRequest:
    return LLMRequest(model=model, messages=[{"role": "user", "content": text}], **fields)


async def seen(llm: LLMConnection, event: str, count: int) -> None:
    async with asyncio.timeout(10):
        while await counted(llm, event) < count:
            pass


async def counted(llm: LLMConnection, event: str) -> int:
    return int(json.loads((await llm.chat_completion(ask("events"))).content).count(event))


async def test_a_whole_answer(llm: LLMConnection) -> None:
    reply = await llm.chat_completion(ask("echo"))
    assert (reply.content, reply.model, reply.provider) == ("one two three", "echo", "custom")
    assert reply.usage.total_tokens == 8
    assert float(reply.usage.cost or 0) == 0.25  # as the far side priced it
    assert reply.extra["provider_request_id"] == "there-1"


async def test_an_answer_as_it_is_made(llm: LLMConnection) -> None:
    chunks = [chunk async for chunk in llm.stream(ask("words"))]
    assert [type(chunk) for chunk in chunks] == [Start, TextDelta, TextDelta, TextDelta, UsageUpdate, Finish]
    assert "".join(chunk.text for chunk in chunks) == "one two three "


async def test_a_server_of_the_older_schema(llm: LLMConnection) -> None:
    stream = llm.stream(ask("old"))
    assert await stream.text() == "one two three "
    reply = stream.response()
    assert (reply.model, reply.usage.output_tokens, reply.finish_reason) == ("old", 7, "stop")


async def test_vectors_models_and_health(llm: LLMConnection) -> None:
    embedded = await llm.embed("vectors", ["a", "bcd"])
    assert embedded.vectors == ((1.0, 0.5), (3.0, 0.5))
    assert await llm.models() == ("echo",)
    health = await llm.health()
    assert health["custom"].ok


async def test_what_is_said_and_what_stays_here(llm: LLMConnection) -> None:
    """The key and the deadline go; metadata of the program, its mode and its cache of replies stay."""
    request = ask("metadata", metadata={"user": "me"}, mode="human_ai", cache=CacheHints(key="k", ttl=5))
    said = json.loads((await llm.chat_completion(request)).content)
    assert said["authorization"] == "Bearer sk-secret-key-1"
    assert 15 < float(said["left"]) <= 21
    assert 'key: "k"' in said["request"]
    for kept in ("metadata:", "mode:", "ttl:", "within:"):
        assert kept not in said["request"]


async def test_a_call_that_is_cancelled_is_cancelled_there(llm: LLMConnection) -> None:
    began, ended = await counted(llm, "slow began"), await counted(llm, "slow ended")
    task = asyncio.create_task(llm.chat_completion(ask("slow")))
    await seen(llm, "slow began", began + 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await seen(llm, "slow ended", ended + 1)


async def test_a_stream_that_is_left_ends_there(llm: LLMConnection) -> None:
    before = await counted(llm, "endless stream ended")
    async with llm.stream(ask("endless")) as stream:
        async for chunk in stream:
            if chunk.text:
                break
    await seen(llm, "endless stream ended", before + 1)


async def test_a_deadline_ends_both_sides(llm: LLMConnection) -> None:
    before = await counted(llm, "slow ended")
    with pytest.raises(errors.DeadlineExceeded):
        await llm.chat_completion(ask("slow", within=0.3))
    await seen(llm, "slow ended", before + 1)
    with pytest.raises(errors.DeadlineExceeded):
        await llm.stream(ask("slow", within=0.3)).text()


@pytest.mark.parametrize(
    "kind",
    [
        "InvalidRequest",
        "ContextLength",
        "UnsupportedParameter",
        "AuthenticationError",
        "PermissionDenied",
        "NotFound",
        "ContentFilter",
        "RateLimit",
        "QuotaExhausted",
        "ProviderOverloaded",
        "ServerError",
        "DeadlineExceeded",
        "Overloaded",
        "BudgetExceeded",
        "NoSuchAgent",
        "HandlerFailed",
    ],
)
async def test_an_error_of_ours_arrives_as_it_was(llm: LLMConnection, kind: str) -> None:
    for call in (llm.chat_completion(ask(f"ours:{kind}")), llm.stream(ask(f"ours:{kind}")).text()):
        with pytest.raises(getattr(errors, kind)) as caught:
            await call
        assert type(caught.value) is getattr(errors, kind)
        assert (caught.value.message, caught.value.hint) == ("it failed here", "do this")
        if kind == "RateLimit":
            assert caught.value.retry_after == 0.25


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("INVALID_ARGUMENT", errors.InvalidRequest),
        ("UNAUTHENTICATED", errors.AuthenticationError),
        ("PERMISSION_DENIED", errors.PermissionDenied),
        ("NOT_FOUND", errors.NotFound),
        ("RESOURCE_EXHAUSTED", errors.RateLimit),
        ("UNAVAILABLE", errors.ProviderOverloaded),
        ("INTERNAL", errors.ServerError),
        ("UNIMPLEMENTED", errors.NotFound),
        ("DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        ("CANCELLED", errors.ServerError),
    ],
)
async def test_a_code_of_any_server(llm: LLMConnection, code: str, kind: type[errors.ThreeModeError]) -> None:
    with pytest.raises(kind) as caught:
        await llm.chat_completion(ask(f"fails:{code}"))
    assert isinstance(caught.value, errors.LLMError | errors.DeadlineExceeded)
    assert caught.value.provider == "custom"


async def test_it_retries_as_over_http(peer: Peer) -> None:
    async with LLMConnection(base_url=peer.url, policies=Policies(retry=SOON)) as llm:
        reply = await llm.chat_completion(ask("flaky:retries"))
        assert [step.kind for step in reply.steps] == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert await llm.stream(ask("flaky:streamed")).text() == "one two three "


async def test_it_waits_as_long_as_the_server_says(peer: Peer) -> None:
    async with LLMConnection(base_url=peer.url, policies=Policies(retry=SOON)) as llm:
        with pytest.raises(errors.RateLimit) as caught:
            await llm.chat_completion(ask("wait"))
        assert caught.value.retry_after == 0.25
        assert caught.value.status == 429


async def test_the_breaker_opens(peer: Peer) -> None:
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2))
    async with LLMConnection(base_url=peer.url, policies=policies) as llm:
        for _ in range(2):
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(ask("fails:INTERNAL"))
        with pytest.raises(errors.CircuitOpen):
            await llm.chat_completion(ask("fails:INTERNAL"))


async def test_the_cache_keeps_a_reply(peer: Peer) -> None:
    async with LLMConnection(base_url=peer.url, policies=Policies(cache=CacheOptions())) as llm:
        first = await llm.chat_completion(ask("echo", temperature=0))
        again = await llm.chat_completion(ask("echo", temperature=0))
        assert [step.kind for step in again.steps] == ["cache_hit"]
        assert again.content == first.content


async def test_identical_calls_are_one(peer: Peer) -> None:
    async with LLMConnection(base_url=peer.url, policies=Policies(coalesce=True)) as llm:
        replies = await asyncio.gather(*(llm.chat_completion(ask("echo", temperature=0)) for _ in range(5)))
        assert sum(step.kind == "coalesced" for reply in replies for step in reply.steps) == 4


async def test_a_late_call_is_hedged(peer: Peer) -> None:
    policies = Policies(retry=RetryOptions(attempts=1), hedge=HedgeOptions(after=0.1))
    async with LLMConnection(base_url=peer.url, policies=policies) as llm:
        with pytest.raises(errors.DeadlineExceeded):
            await llm.chat_completion(ask("slow", within=0.6))
        assert await counted(llm, "slow began") >= 2


async def test_a_budget_holds(peer: Peer) -> None:
    policies = Policies(budgets=(Budget(limit=0.4),), retry=RetryOptions(attempts=1))
    options = ConnectionOptions(prices=Prices({"custom/echo": Price(input=Decimal(1), output=Decimal(1))}))
    async with LLMConnection(base_url=peer.url, policies=policies, options=options) as llm:
        for _ in range(2):  # each is what the far side says it was: a quarter of a dollar
            await llm.chat_completion(ask("echo"))
        with pytest.raises(errors.BudgetExceeded):
            await llm.chat_completion(ask("echo"))


async def test_the_key_is_in_no_error(llm: LLMConnection) -> None:
    with pytest.raises(errors.NotFound) as caught:
        await llm.chat_completion(ask("ours:NotFound"))
    assert "sk-secret" not in repr(caught.value) + repr(llm)


async def test_many_at_once(llm: LLMConnection) -> None:
    replies = await asyncio.gather(*(llm.chat_completion(ask("echo", str(number))) for number in range(200)))
    assert [reply.content for reply in replies] == [str(number) for number in range(200)]


async def test_a_reply_above_the_limit(peer: Peer) -> None:
    options = ConnectionOptions(reply_bytes=1_000)
    async with LLMConnection(base_url=peer.url, options=options, policies=ONCE) as llm:
        with pytest.raises(errors.ReplyTooLarge):
            await llm.chat_completion(ask("echo", "x" * 2_000))
        with pytest.raises((errors.ReplyTooLarge, errors.StreamInterrupted)):
            await llm.stream(ask("endless")).text()


def test_code_without_a_loop(peer: Peer) -> None:
    with sync.LLMConnection(base_url=peer.url) as llm:
        assert llm.chat_completion(ask("echo")).content == "one two three"
        assert llm.stream(ask("words")).text() == "one two three "


async def test_over_tls(tmp_path: Path) -> None:
    certificates = Certificates()
    _, certificate, key = certificates.write(tmp_path)
    with running("aio", MODELS, "tls", certificate, key) as peer:
        options = ConnectionOptions(transport=PoolOptions(ssl_context=certificates.client_context()))
        url = f"grpcs://localhost:{peer.port}"
        async with LLMConnection(base_url=url, options=options, policies=ONCE) as llm:
            assert (await llm.chat_completion(ask("echo"))).content == "one two three"
        async with LLMConnection(base_url=url, policies=ONCE) as llm:
            with pytest.raises(errors.ConnectionFailed, match="certificate"):
                await llm.chat_completion(ask("echo"))


async def test_over_a_socket_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "models.sock"
    with running("aio", MODELS, "unix", str(path)):
        async with LLMConnection(base_url=f"grpc+unix://{path}", policies=ONCE) as llm:
            assert (await llm.chat_completion(ask("echo"))).content == "one two three"


async def test_another_machine_in_the_clear_is_refused() -> None:
    async with LLMConnection(base_url="grpc://192.0.2.1:50051", api_key="k") as llm:
        with pytest.raises(errors.ConfigurationError, match="insecure"):
            await llm.chat_completion(ask("echo"))


async def test_an_address_of_a_model(peer: Peer) -> None:
    """A URL as a provider of its own, beside another one."""
    accounts = {"custom": Account(base_url="http://127.0.0.1:9/v1")}
    async with LLMConnection(provider="custom", options=ConnectionOptions(accounts=accounts)) as llm:
        reply = await llm.chat_completion(ask(f"{peer.url}#echo"))
        assert (reply.content, reply.provider) == ("one two three", peer.url)


async def test_pieces_without_text_are_no_end(llm: LLMConnection) -> None:
    assert await llm.stream(ask("empty")).text() == "one two three "


async def test_a_proxy_of_the_environment_is_not_asked(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with LLMConnection(base_url=peer.url, policies=ONCE) as llm:
        assert (await llm.chat_completion(ask("echo"))).content == "one two three"


def test_grpcio_is_not_needed() -> None:
    code = "import sys, three_mode.channels.grpc, three_mode.serve.surfaces.grpc; print('grpc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
