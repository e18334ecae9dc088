"""A provider of OpenAI's format over HTTP/1.1 whose answers are given byte by byte."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
Answering = Callable[[dict[str, Any]], bytes | None]


def completion(text: str | None = "Hello!", **more: Any) -> dict[str, Any]:
    """The body of a reply."""
    message = {"role": "assistant", "content": text, "refusal": None} | more.pop("message", {})
    return {
        "id": "chatcmpl-theirs",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2025",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
        "system_fingerprint": "fp",
    } | more


def answer(value: Any, status: int = 200, *fields: str) -> bytes:
    """A whole answer of HTTP: of a value as JSON, or of bytes as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", *fields, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class RawProvider:
    """`answers` gives the bytes of the answer to a request: `cut_after` closes behind so many of them. None: no answer
    comes, until the client goes."""

    def __init__(self, answers: Answering) -> None:
        self.answers = answers
        self.cut_after: int | None = None
        self.seen: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.waiting = 0  # requests that get no answer
        self.left = 0  # of them, those whose client has gone
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = _LENGTH.search(head)
                body = await reader.readexactly(int(found[1]) if found else 0)
                self.paths.append(head.split(b" ")[1].decode())
                self.seen.append(json.loads(body or b"{}"))
                data = self.answers(self.seen[-1])
                if data is None:
                    self.waiting += 1
                    await reader.read()
                    self.left += 1
                    return
                writer.write(data[: self.cut_after])
                if self.cut_after is not None:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()


@asynccontextmanager
async def raw_provider(answers: Answering) -> AsyncIterator[RawProvider]:
    """Runs one."""
    provider = RawProvider(answers)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
