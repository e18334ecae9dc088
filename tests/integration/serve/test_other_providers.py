"""The endpoint of one provider, and clients that name another: the keys of others are the operator's alone."""

import httpx
import pytest

from tests.support.providers.servers import several
from tests.support.serve.endpoint import free_port
from three_mode.serve import App, Connected, ServeOptions, serve


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_names_no_other_provider(stream: bool) -> None:
    port = free_port()
    async with (
        several(("openai", "anthropic")) as (llm, servers),
        serve(App(Connected(llm), ServeOptions(port=port))),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", timeout=20) as http,
    ):
        body = {"stream": stream, "messages": [{"role": "user", "content": "Hello!"}]}
        for model in (
            "anthropic/claude-sonnet-4-5",
            "gemini/gemini-2.5-pro",
            "claude-cli/sonnet",
            "anthropic/m:latest",
        ):
            reply = await http.post("/chat/completions", json=body | {"model": model})
            assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
            assert (await http.post("/embeddings", json={"model": model, "input": "text"})).status_code == 404
        assert not servers["anthropic"].seen
        for model in ("m", "openai/m", "meta-llama/m"):
            assert (await http.post("/chat/completions", json=body | {"model": model})).status_code == 200
        assert {seen.json["model"] for seen in servers["openai"].seen} == {"m", "meta-llama/m"}
        sent = await http.post("/chat/completions", json=body | {"model": "m", "provider": {"order": ["anthropic"]}})
        assert sent.status_code == 200
        assert servers["openai"].seen[-1].json["provider"] == {"order": ["anthropic"]}, "a field of the far provider's"
        assert not servers["anthropic"].seen
