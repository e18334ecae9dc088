"""Bodies of each surface of the endpoint, through the whole application, with scripted models behind it.

Whatever a body holds, the answer has a status that the surface documents, in its shape; what the endpoint did not
foresee (500, or an exception in its log) is a finding.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from tests.fuzz.loop import run, turns
from tests.fuzz.target import Target
from tests.support.serve.endpoint import Scripted
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, LLMRequest, Message, Reranked, RerankRequest, Usage
from three_mode.messages.reranking import Ranked
from three_mode.serve import App, ModelInfo, ServeOptions
from three_mode.serve.wire_in import MOST_MESSAGES, _read_any, read_chat
from transports.http2 import SSEDecoder

MODELS = frozenset(("echo", "tool", "embedder"))
REFUSED = frozenset((400, 402, 403, 404, 405, 406, 409, 413, 415, 422))
WITHIN = 15.0
Headers = tuple[tuple[bytes, bytes], ...]
JSON: Headers = ((b"content-type", b"application/json"),)
_app: App | None = None


class Models(Scripted):
    """The scripted models that end, and one that orders documents by their length."""

    async def _chunks(self, request: LLMRequest) -> AsyncIterator[Chunk]:
        self.seen.clear()  # one of these answers all inputs
        if not request.messages:  # a prompt, as text or as tokens
            request = structs.replace(request, messages=(Message("user", str(request.prompt)),), prompt=None)
        async for chunk in super()._chunks(request):
            yield chunk

    async def available_models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(name) for name in sorted(MODELS)]

    async def rerank(self, request: RerankRequest) -> Reranked:
        order = sorted(range(len(request.documents)), key=lambda place: -len(request.documents[place]))
        ranked = tuple(Ranked(place, float(len(request.documents[place]))) for place in order)
        return Reranked(ranked[: request.top_n or len(order)], request.model or "", Usage(input_tokens=1))


def app() -> App:
    """One application for all inputs, as one process serves all clients."""
    global _app
    if _app is None:
        options = ServeOptions(
            only_models=MODELS,
            mcp_models=True,
            default_within=WITHIN,
            longest_within=WITHIN,
            max_tasks=64,
            max_tasks_bytes=1 << 20,
            a2a_default="echo",
        )
        _app = App(Models(), options)
    return _app


class Answered:
    """An answer as ASGI has it: the status, the headers, the body, the trailers."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.trailers: dict[bytes, bytes] = {}
        self.body = b""

    async def take(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            assert self.status == 0, "two heads of one answer"
            self.status = message["status"]
            self.headers = dict(message["headers"])
        elif kind == "http.response.body":
            assert self.status
            self.body += message.get("body", b"")
        elif kind == "http.response.trailers":
            self.trailers = dict(message["headers"])


async def asked(path: str, body: bytes, headers: Headers = JSON, method: str = "POST") -> Answered:
    """What the application answers. A client that stays until it has its answer."""
    answered, sent = Answered(), False
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
        "extensions": {"http.response.trailers": {}},
    }

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if sent:
            await turns(10_000)
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    await app()(scope, receive, answered.take)
    return answered


def _openai(answered: Answered) -> None:
    error = msgspec.json.decode(answered.body)["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["code"], str)
    assert isinstance(error["type"], str)


def _anthropic(answered: Answered) -> None:
    said = msgspec.json.decode(answered.body)
    assert said["type"] == "error"
    assert said["error"]["message"]
    assert isinstance(said["error"]["type"], str)


def _rpc(answered: Answered) -> None:
    said = msgspec.json.decode(answered.body)
    assert said["jsonrpc"] == "2.0"
    assert isinstance(said["error"]["code"], int)
    assert said["error"]["message"]


def _canonical(answered: Answered) -> None:
    error = msgspec.json.decode(answered.body)["error"]
    assert error["code"] == answered.status
    assert error["message"]


def _check(answered: Answered, refused: Callable[[Answered], None]) -> None:
    assert answered.status, "no answer"
    if answered.status in REFUSED:
        refused(answered)
        return
    assert answered.status in (200, 202), f"{answered.status}: {answered.body[:500]!r}"
    if b"event-stream" in answered.headers.get(b"content-type", b""):
        decoder = SSEDecoder()
        for event in [*decoder.feed(answered.body), *decoder.finish()]:
            if event.data != b"[DONE]":
                msgspec.json.decode(event.data)
    elif answered.body:
        said = msgspec.json.decode(answered.body)
        if isinstance(said, dict) and "error" in said and "jsonrpc" in said:
            _rpc(answered)


def body(path: str, refused: Callable[[Answered], None], headers: Headers, data: bytes) -> None:
    """One body to one path."""
    _check(run(asked(path, data, headers)), refused)


def chat(data: bytes) -> None:
    """Chat completions: the plain bodies that are read the short way are read the same the long way."""
    body("/v1/chat/completions", _openai, JSON, data)
    try:
        short = read_chat(data, WITHIN)
    except ThreeModeError:
        return
    assert _read_any(data, WITHIN, MOST_MESSAGES) == short


def _a2a_http(data: bytes) -> None:
    stream = data[:1] == b" "
    body("/a2a/echo/message:" + ("stream" if stream else "send"), _canonical, A2A_HTTP, data)


EVENTS: Headers = (*JSON, (b"accept", b"application/json, text/event-stream"))
A2A_HTTP: Headers = ((b"content-type", b"application/a2a+json"), (b"a2a-version", b"1.0"))
ANTHROPIC: Headers = (*JSON, (b"anthropic-version", b"2023-06-01"))


def _path(name: str, path: str, refused: Callable[[Answered], None] = _openai, headers: Headers = JSON) -> Target:
    run_it = partial(body, path, refused, headers)
    return Target(name=name, run=run_it, shape="json", lines=300_000, lines_a_byte=3_000)


TARGETS = (
    Target(name="chat_completions", run=chat, shape="json", lines=300_000, lines_a_byte=3_000),
    _path("responses", "/v1/responses"),
    _path("messages", "/v1/messages", _anthropic, ANTHROPIC),
    _path("messages_count", "/v1/messages/count_tokens", _anthropic, ANTHROPIC),
    _path("completions", "/v1/completions"),
    _path("embeddings", "/v1/embeddings"),
    _path("rerank", "/v1/rerank"),
    _path("a2a_rpc", "/a2a/echo", _rpc, (*JSON, (b"a2a-version", b"1.0"))),
    Target(name="a2a_http", run=_a2a_http, shape="json", lines=300_000, lines_a_byte=3_000),
    _path("mcp_http", "/mcp", _rpc, EVENTS),
)
