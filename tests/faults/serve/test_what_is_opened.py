"""What a client can make the endpoint open: models that the operator named, and no file, no address, no other bus."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_models.files.catalogue import TINY
from three_mode import LLMConnection
from three_mode.connection import ConnectionOptions
from three_mode.policies import Policies, RetryOptions
from three_mode.serve import App, Connected
from three_mode.testing import Answer, ScriptedProvider


@pytest.fixture
async def inner() -> AsyncIterator[ScriptedProvider]:
    """A service that only this machine reaches."""
    async with ScriptedProvider("http/1.1") as server:
        yield server


@pytest.fixture
async def http(inner: ScriptedProvider, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "brain.gguf").write_bytes(TINY.read_bytes())
    files = {"brain": str(tmp_path / "brain.gguf")}
    options = ConnectionOptions(files=files)
    once = Policies(retry=RetryOptions(attempts=1))
    async with LLMConnection(base_url=inner.url + "/v1", options=options, policies=once) as llm:
        app = App(Connected(llm, models={"named": f"gguf:{TINY}", "elsewhere": f"{inner.url}/v1#m"}))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            yield client


async def asked(
    http: httpx.AsyncClient, model: str, path: str = "chat/completions", stream: bool = False
) -> httpx.Response:
    body: dict[str, Any] = {"model": model, "input": "x"}
    if path == "chat/completions":
        messages = [{"role": "user", "content": "Hello!"}]
        body = {"model": model, "max_tokens": 1, "stream": stream, "messages": messages}
    return await http.post(f"/v1/{path}", json=body)


def names(inner: ScriptedProvider) -> list[str]:
    """Names of models that are files and addresses; some are there, and some are not."""
    return [
        "gguf:/etc/passwd",
        "gguf:/etc/no-such-file",
        f"gguf:{TINY}",
        str(TINY),
        str(TINY).upper(),
        "../../tiny.gguf",
        f"{inner.url}/admin?x=",
        f"{inner.url}/v1#m",
        "https://127.0.0.1:9/x",
        "file:///etc/passwd",
        "HTTP://127.0.0.1:9/x",
        "GGUF:/etc/passwd",
        "hf:/etc",
        "hf:openai/gpt-oss-20b",
        " hf:openai/gpt-oss-20b",
        "file:/etc/passwd",
    ]


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
async def test_no_file_and_no_address_is_opened(http: httpx.AsyncClient, inner: ScriptedProvider, path: str) -> None:
    replies = set()
    for name in names(inner):
        reply = await asked(http, name, path)
        error = reply.json()["error"]
        assert (reply.status_code, error["type"], error["code"]) == (403, "permission_error", "permission_denied"), name
        replies.add(reply.content)
    assert len(replies) == 1, "an answer does not tell whether a file is there"
    assert not inner.seen


async def test_an_agent_where_there_is_no_bus_is_no_model(http: httpx.AsyncClient) -> None:
    reply = await asked(http, "agent:brain")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "key sk-inner-0123456789 of the team blue", "the provider refused this endpoint's key"),
        (402, "the account blue is empty", "this endpoint's account at the provider is used up"),
        (403, "blue may not", "the provider does not allow this endpoint that"),
        (429, "blue is too fast", "the provider's rate limit for this endpoint is reached"),
        (500, "<h1>the inner page of blue</h1>", "the provider failed"),
        (302, "moved to blue", "the provider's reply could not be read"),
        (200, "<h1>the inner page of blue</h1>", "the provider's reply could not be read"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_provider_says_of_itself_is_not_told_to_a_client(
    http: httpx.AsyncClient, inner: ScriptedProvider, stream: bool, status: int, body: str, told: str
) -> None:
    inner.always(Answer(status=status, pieces=(body.encode(),)))
    reply = await asked(http, "m", stream=stream)
    assert "blue" not in reply.text
    assert reply.json()["error"]["message"].startswith(told)


async def test_what_a_provider_says_of_the_request_is(http: httpx.AsyncClient, inner: ScriptedProvider) -> None:
    inner.always(Answer(status=400, pieces=(b'{"error": {"message": "the colour must be blue"}}',)))
    assert "the colour must be blue" in (await asked(http, "m")).json()["error"]["message"]


async def test_a_mode_makes_no_file_of_a_name(inner: ScriptedProvider, tmp_path: Path) -> None:
    """Under AI_PC a bare name is a model of this computer, and a path is a name too."""
    (tmp_path / "brain").write_bytes(TINY.read_bytes())
    async with LLMConnection(mode="ai_pc") as llm:
        transport = httpx.ASGITransport(app=App(Connected(llm)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http:
            for path in ("chat/completions", "embeddings"):
                for name in (str(tmp_path / "brain"), str(tmp_path / "none")):
                    reply = await asked(http, name, path)
                    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "permission_denied")
                assert (await asked(http, "brain", path)).status_code == 404
            assert (await asked(http, "tiny")).status_code == 200


async def test_what_the_operator_named_answers(http: httpx.AsyncClient, inner: ScriptedProvider) -> None:
    listed = {model["id"] for model in (await http.get("/v1/models")).json()["data"]}
    assert {"named", "elsewhere", "brain", "tiny"} <= listed
    for name in ("named", "brain", "tiny", "elsewhere", "a-model-of-the-provider"):
        reply = await asked(http, name)
        assert reply.status_code == 200, (name, reply.text)
    assert [seen.json["model"] for seen in inner.seen if seen.body] == ["m", "a-model-of-the-provider"]
