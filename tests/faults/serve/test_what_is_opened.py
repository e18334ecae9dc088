"""What a client can make the endpoint open: models that the operator named, and no file, no address, no other bus."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_models.files.catalogue import TINY
from three_mode import LLMConnection
from three_mode.connection import ConnectionOptions
from three_mode.serve import App, Connected
from three_mode.testing import ScriptedProvider


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
    async with LLMConnection(base_url=inner.url + "/v1", options=options) as llm:
        app = App(Connected(llm, models={"named": f"gguf:{TINY}", "elsewhere": f"{inner.url}/v1#m"}))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            yield client


async def asked(http: httpx.AsyncClient, model: str, path: str = "chat/completions") -> httpx.Response:
    body: dict[str, Any] = {"model": model, "input": "x"}
    if path == "chat/completions":
        body = {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hello!"}]}
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
        "agent:brain",
    ]


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
async def test_no_file_and_no_address_is_opened(http: httpx.AsyncClient, inner: ScriptedProvider, path: str) -> None:
    replies = {}
    for name in names(inner):
        reply = await asked(http, name, path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found"), name
        replies[name] = reply.json()["error"]["message"].replace(repr(name), "NAME")
    assert len(set(replies.values())) == 1, "an answer does not tell whether a file is there"
    assert not inner.seen


async def test_what_the_operator_named_answers(http: httpx.AsyncClient, inner: ScriptedProvider) -> None:
    listed = {model["id"] for model in (await http.get("/v1/models")).json()["data"]}
    assert {"named", "elsewhere", "brain", "tiny"} <= listed
    for name in ("named", "brain", "tiny", "elsewhere", "a-model-of-the-provider"):
        reply = await asked(http, name)
        assert reply.status_code == 200, (name, reply.text)
    assert [seen.json["model"] for seen in inner.seen if seen.body] == ["m", "a-model-of-the-provider"]
