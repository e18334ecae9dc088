"""Requests of the official clients, recorded by a transport that keeps the body and answers."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import httpx2

Body = dict[str, Any]
_ANSWERS: dict[str, Body] = {
    "openai": {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}],
    },
    "anthropic": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "{}"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "gemini": {"candidates": [{"content": {"role": "model", "parts": [{"text": "{}"}]}, "finishReason": "STOP"}]},
    "ollama": {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "{}"},
        "done": True,
    },
}


class Sent:
    """Single request that a client made."""

    method = ""
    path = ""
    body: Body
    headers: dict[str, str]

    def keep(self, request: Any, answer: Body) -> bytes:
        self.method, self.path = request.method, request.url.raw_path.decode()
        self.headers = {key.lower(): value for key, value in request.headers.items()}
        self.body = json.loads(request.content) if request.content else {}
        return json.dumps(answer).encode()


def sent_by(provider: str, call: Callable[[Any], object], answer: Body | None = None) -> Sent:
    """Records the request of a call. `answer` is for calls other than chat, whose client must be able to read it."""
    sent = Sent()
    answer = answer or _ANSWERS[provider]

    def new(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=sent.keep(request, answer), headers={"content-type": "application/json"})

    def old(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=sent.keep(request, answer), headers={"content-type": "application/json"})

    if provider == "openai":
        import openai

        with openai.OpenAI(
            api_key="k",
            base_url="http://x.test/v1",
            http_client=httpx2.Client(transport=httpx2.MockTransport(new)),
        ) as client:
            call(client)
    elif provider == "anthropic":
        import anthropic

        with anthropic.Anthropic(
            api_key="k",
            base_url="http://x.test",
            http_client=httpx2.Client(transport=httpx2.MockTransport(new)),
        ) as client:
            call(client)
    elif provider == "gemini":
        from google import genai
        from google.genai import types

        options = types.HttpOptions(
            base_url="http://x.test", httpx_client=httpx.Client(transport=httpx.MockTransport(old))
        )
        with genai.Client(api_key="k", vertexai=False, http_options=options) as client:
            call(client)
    else:
        import ollama

        client = ollama.Client(host="http://x.test", transport=httpx.MockTransport(old))
        call(client)
    return sent
