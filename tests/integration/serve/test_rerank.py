"""`/v1/rerank` as clients of llama-server and Jina ask it: a local reranker, a provider's, and an agent."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.local_models.reranker import make_reranker
from tests.support.serve.endpoint import endpoint, free_port
from three_mode import Agent, LLMConnection, Orchestrator, errors, handler
from three_mode import sync as blocking
from three_mode.connection import Observing
from three_mode.messages import Ranked, Reranked, RerankRequest, Usage
from three_mode.observe import RecordOptions
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Answer, ScriptedProvider
from three_mode.testing.wire.rerank import score_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUERY, DOCUMENTS = "what is red", ["blue sky", "the apple is red", "green tree"]


class Judge(Agent):
    """Ranks by length, or badly."""

    @handler
    async def rerank(self, request: RerankRequest) -> Reranked:
        if request.query == "badly":
            return Reranked((Ranked(7, 1.0),))
        if request.query == "twice":
            return Reranked(tuple(Ranked(0, 1.0) for _ in request.documents))
        lengths = [Ranked(index, float(len(each))) for index, each in enumerate(request.documents)]
        return Reranked(tuple(lengths), "judge", Usage(input_tokens=5))


class Clerk(Agent):
    """Ranks nothing."""

    @handler
    def idle(self) -> None:
        pass


@dataclass
class Running:
    """The endpoint, and what stands behind it."""

    url: str
    provider: ScriptedProvider
    llm: LLMConnection

    async def ask(self, path: str = "/v1/rerank", **body: Any) -> httpx.Response:
        asked = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS, **body}
        async with httpx.AsyncClient() as client:
            return await client.post(self.url + path, json=asked)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    port, path = free_port(), make_reranker(tmp_path_factory.mktemp("models") / "reranker.gguf")
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        await orc.spawn(Judge, name="judge")
        await orc.spawn(Clerk, name="clerk")
        await orc.model(f"gguf:{path}", name="ranked")
        async with LLMConnection(base_url=provider.url + "/v1", bus=orc.bus) as llm:
            names = {"ranker": f"gguf:{path}", "ranked-on-the-bus": "agent:ranked"}
            async with serve(App(Connected(llm, orc.bus, names), ServeOptions(port=port))):
                yield Running(f"http://127.0.0.1:{port}", provider, llm)


async def test_a_local_reranker_orders_documents_in_all_shapes(running: Running) -> None:
    answers = [await running.ask(path) for path in ("/v1/rerank", "/rerank", "/v1/reranking")]
    answers.append(await running.ask(model="ranked-on-the-bus"))
    answers.append(await running.ask(documents=[{"text": each} for each in DOCUMENTS], query={"text": QUERY}))
    assert [answer.status_code for answer in answers] == [200] * 5
    first = answers[0].json()
    results = first["results"]
    assert sorted(each["index"] for each in results) == [0, 1, 2]
    scores = [each["relevance_score"] for each in results]
    assert scores == sorted(scores, reverse=True)
    assert first["usage"]["prompt_tokens"] == first["usage"]["total_tokens"] > 0
    assert all(answer.json()["results"] == results for answer in answers)
    best = (await running.ask(top_n=1, return_documents=True)).json()["results"]
    assert best == [{**results[0], "document": {"text": DOCUMENTS[results[0]["index"]]}}]


async def test_a_provider_and_an_agent_rank_too(running: Running) -> None:
    answer = (await running.ask(model="jina-reranker", top_n=2)).json()
    assert [each["index"] for each in answer["results"]] == [1, 0]
    assert answer["results"][0]["relevance_score"] == pytest.approx(score_of(QUERY, DOCUMENTS[1]))
    seen = running.provider.seen[-1]
    assert seen.path == "/v1/rerank"
    assert seen.json == {"model": "jina-reranker", "query": QUERY, "documents": DOCUMENTS, "top_n": 2}
    judged = (await running.ask(model="agent:judge", top_n=2)).json()
    assert [each["index"] for each in judged["results"]] == [1, 2]
    assert judged["usage"]["prompt_tokens"] == 5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"query": None}, "query"),
        ({"query": ""}, "query"),
        ({"query": ["a"]}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "red"}, "documents"),
        ({"documents": ["a", 7]}, "documents[1]"),
        ({"documents": [{"text": "a"}, {"image": "b"}]}, "documents[1]"),
        ({"documents": ["a"] * 10_001}, "documents"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "x"}, "top_n"),
        ({"return_documents": "yes"}, "return_documents"),
        ({"model": None}, "model"),
        ({"truncation": True}, "truncation"),
        ({"documents": ["red " * 100]}, None),
        ({"model": "tiny"}, None),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_done_is_a_400_that_names_it(running: Running, body: dict[str, Any], param: str) -> None:
    answer = await running.ask(**body)
    assert answer.status_code == 400, answer.text
    assert param in (None, answer.json()["error"]["param"]), answer.text


async def test_bad_replies_and_agents_that_do_not_rank_are_named_errors(running: Running) -> None:
    bodies = (
        b'{"results": [{"index": 9, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": NaN}]}',
        b'{"results": [{"index": 0, "relevance_score": "x"}]}',
        b'{"results": []}',
        b"[]",
        b"no",
    )
    async with LLMConnection(base_url=running.provider.url + "/v1", max_retries=0) as llm:
        for number, body in enumerate(bodies):  # each of another model: a breaker would open
            running.provider.next(Answer(pieces=(body,)))
            with pytest.raises(errors.BadReply):
                await llm.rerank(f"m{number}", QUERY, ["a"])
        running.provider.next(Answer(status=429))
        with pytest.raises(errors.RateLimit):
            await llm.rerank("m", QUERY, ["a"])
    for wrong in ("badly", "twice"):
        with pytest.raises(errors.BadReply, match="did not rank"):
            await running.llm.rerank("agent:judge", wrong, ["a", "b"])
    with pytest.raises(errors.NoSuchAgent, match="reranks no documents"):
        await running.llm.rerank("agent:clerk", QUERY, ["a"])
    for provider in ("anthropic", "gemini", "ollama"):
        async with LLMConnection(provider, "key", running.provider.url) as llm:
            with pytest.raises(errors.UnsupportedParameter, match="reranks no documents"):
                await llm.rerank("m", QUERY, ["a"])


async def test_a_backend_that_ranks_nothing_says_so() -> None:
    async with endpoint() as bare, httpx.AsyncClient() as client:
        answer = await client.post(bare.url + "/rerank", json={"model": "echo", "query": "a", "documents": ["b"]})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "model"


async def test_events_records_and_figures_have_the_call(running: Running, tmp_path: Path) -> None:
    seen: list[Any] = []
    observe = Observing(events=seen.append, records=RecordOptions(path=tmp_path / "calls.jsonl"))
    async with LLMConnection(base_url=running.provider.url + "/v1", observe=observe) as llm:
        reranked = await llm.rerank("m", QUERY, DOCUMENTS)
        assert [each.index for each in reranked] == [1, 0, 2]
        assert llm.spent().calls == 1
    assert [(event.kind, event.call) for event in seen if event.kind == "response_start"] == [
        ("response_start", "rerank")
    ]
    assert '"query":"what is red"' in (tmp_path / "calls.jsonl").read_text()


async def test_code_without_a_loop_ranks_too(running: Running) -> None:
    import asyncio

    def asked() -> list[int]:
        with blocking.LLMConnection(base_url=running.provider.url + "/v1") as llm:
            return [each.index for each in llm.rerank("m", QUERY, DOCUMENTS, top_n=1)]

    assert await asyncio.to_thread(asked) == [1]
