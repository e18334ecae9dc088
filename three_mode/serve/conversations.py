"""Conversations that the endpoint keeps: `/v1/conversations`, and chat requests that go on in one.

A client makes one, and has its id, which nobody can guess. A chat request with `"three_mode.conversation": ID` brings
only what is new: what came before is kept here. An endpoint keeps none unless it is told where.
"""

import secrets
from collections.abc import AsyncIterator, Coroutine, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import msgspec

from three_mode.connection import LLMConnection
from three_mode.conversations import Conversations, Talk, TalkStream
from three_mode.errors import InvalidRequest, NoSuchConversation, UnsupportedParameter
from three_mode.events.hub import ConnectionHub
from three_mode.messages import (
    Chunk,
    Embedded,
    EmbedRequest,
    LLMRequest,
    LLMResponse,
    Message,
    Reranked,
    RerankRequest,
    Text,
    ToolCall,
    ToolResult,
)
from three_mode.serve.backend import CONVERSATION, ChunkStream, ModelInfo, TokenCount
from three_mode.serve.connected import Connected
from three_mode.serve.model_rule import ModelRule

PATH = "/v1/conversations"
_ID = "conv_"  # other conversations of the file are none of the endpoint's
_MOST_ITEMS = 100
# Fields of a request that a turn brings itself, or that the conversation has.
_OWN = frozenset({"messages", "model", "mode", "within", "extra"})


class KeptStream:
    """A streamed answer in a conversation, which is opened when the stream is entered."""

    def __init__(self, backend: "ConversationBackend", request: LLMRequest) -> None:
        self._backend, self._request = backend, request
        self._stream: TalkStream | None = None

    def __aiter__(self) -> AsyncIterator[Chunk]:
        assert self._stream is not None
        return self._stream

    async def __aenter__(self) -> Self:
        talk, said, fields = await self._backend.turn(self._request)
        self._stream = talk.stream(said, within=self._request.within, **fields)
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._stream is not None:
            await self._stream.aclose()


class ConversationBackend:
    """A connection as what the endpoint hands out, with conversations in a file: with those that its clients have
    made, or with all of the file, which can then be listed (`lists`)."""

    def __init__(self, connected: Connected, talks: Conversations, *, lists: bool = False) -> None:
        self._connected, self.talks, self.lists = connected, talks, lists

    def ruled(self, rule: ModelRule) -> "ConversationBackend":
        """The same, for clients who may name what this rule says."""
        return ConversationBackend(self._connected.ruled(rule), self.talks, lists=self.lists)

    @property
    def connection(self) -> LLMConnection:
        """The connection that is handed out."""
        return self._connected.connection

    @property
    def event_hub(self) -> ConnectionHub:
        """The hub of the connection's events, those of its conversations too."""
        return self._connected.event_hub

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        return self._kept(request) if CONVERSATION in request.extra else self._connected.chat_completion(request)

    def stream(self, request: LLMRequest) -> ChunkStream:
        return KeptStream(self, request) if CONVERSATION in request.extra else self._connected.stream(request)

    async def embed(self, request: EmbedRequest) -> Embedded:
        return await self._connected.embed(request)

    async def rerank(self, request: RerankRequest) -> Reranked:
        return await self._connected.rerank(request)

    async def count(self, request: LLMRequest) -> TokenCount:
        return await self._connected.count(request)

    async def available_models(self) -> Sequence[ModelInfo]:
        return await self._connected.available_models()

    async def _kept(self, request: LLMRequest) -> LLMResponse:
        talk, said, fields = await self.turn(request)
        return await talk.say(said, within=request.within, **fields)

    async def turn(self, request: LLMRequest) -> tuple[Talk, list[Message], dict[str, Any]]:
        """The conversation that a request goes on in, what it says there, and the other fields of the request."""
        talk = await self.open(request.extra[CONVERSATION])
        system = [message.text for message in request.messages if message.role == "system"]
        said = [message for message in request.messages if message.role != "system"]
        wrong = next((message.role for message in said if message.role not in ("user", "tool")), None)
        if wrong is not None or not said:
            raise InvalidRequest(
                "in a conversation a request brings what is new: messages of the user, or results of tools",
                field="messages",
                hint="what came before is kept here",
            )
        if system:
            await talk.set_system("\n\n".join(system))
        extra = {name: value for name, value in request.extra.items() if name != CONVERSATION}
        addressed = self._connected.addressed(msgspec.structs.replace(request, extra=extra))
        fields = {
            name: value
            for name, value in zip(request.__struct_fields__, msgspec.structs.astuple(request), strict=True)
            if name not in _OWN and value not in (None, (), {})
        }
        return talk, said, fields | {"model": addressed.model} | ({"extra": extra} if extra else {})

    async def open(self, name: Any) -> Talk:
        """A conversation by its id."""
        if not isinstance(name, str) or not (self.lists or name.startswith(_ID)):
            raise NoSuchConversation("there is no such conversation", hint=f"POST {PATH} makes one")
        return await self.talks.open(name, create=False)


async def answer(talks: ConversationBackend, method: str, path: str, query: bytes, body: bytes) -> dict[str, Any]:
    """The answer to a request of `/v1/conversations`, as plain data. LookupError: there is no such path or method."""
    name, rest = _parts(path.removeprefix(PATH).strip("/"), talks.lists)
    if method == "POST" and not name:
        return await _create(talks, _object(body))
    if method == "GET" and not name and talks.lists:
        return await _listed(talks, query)
    if not name or rest not in ("", "items", "fork"):
        raise LookupError
    talk = await talks.open(name)
    if method == "POST" and rest == "fork":
        forked = _ID + secrets.token_hex(24)
        await talk.fork(forked)
        return await _described(talks, forked)
    if method == "GET" and rest == "items":
        return page_of(items_of(await talk.messages()), query)
    if method == "GET" and not rest:
        return await _described(talks, name)
    if method == "DELETE" and not rest:
        await talk.delete()
        return {"id": name, "object": "conversation.deleted", "deleted": True}
    raise LookupError


def _parts(path: str, lists: bool) -> tuple[str, str]:
    """The name of a conversation, and what of it is asked for. Names that a program gives may have slashes."""
    if not lists:
        name, _, rest = path.partition("/")
        return name, rest
    name, _, rest = path.rpartition("/")
    return (name, rest) if name and rest in ("items", "fork") else (path, "")


async def _listed(talks: ConversationBackend, query: bytes) -> dict[str, Any]:
    """Conversations of the file, those with the latest turns first."""
    given = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    limit = _limit(given.get("limit", str(_MOST_ITEMS)))
    found = await talks.talks.list(most=limit + 1)
    data = [
        {
            "id": each.name,
            "object": "conversation",
            "created_at": _seconds(each.created),
            "changed_at": _seconds(each.changed),
            "turns": each.turns,
            "fork_of": each.fork_of,
        }
        for each in found
    ]
    return {"object": "list", "data": data[:limit], "has_more": len(data) > limit}


async def _create(talks: ConversationBackend, given: dict[str, Any]) -> dict[str, Any]:
    if given.get("metadata"):
        raise UnsupportedParameter("a conversation keeps no metadata here", field="metadata")
    items = given.get("items") or []
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise InvalidRequest("items is a list of objects", field="items")
    system = [each.get("content") for each in items]
    if any(each.get("role") not in ("system", "developer") for each in items) or not all(
        isinstance(text, str) for text in system
    ):
        raise UnsupportedParameter(
            "a new conversation takes system messages alone, each a text", field="items", hint="say the rest in it"
        )
    name = _ID + secrets.token_hex(24)
    await talks.talks.open(name, system="\n\n".join(map(str, system)) or None)
    return await _described(talks, name)


async def _described(talks: ConversationBackend, name: str) -> dict[str, Any]:
    (info,) = await talks.talks.list(name, most=1)
    return {"id": name, "object": "conversation", "created_at": _seconds(info.created), "metadata": {}}


def items_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as items of OpenAI's API: each call of a tool and each result is one of its own."""
    items: list[dict[str, Any]] = []
    for message in messages:
        text = message.text
        if text or message.role == "user":
            kind = "output_text" if message.role == "assistant" else "input_text"
            content = [{"type": kind, "text": text}]
            items.append({"type": "message", "role": message.role, "content": content})
        for part in message.parts:
            if isinstance(part, ToolCall):
                arguments = part.raw if part.raw is not None else msgspec.json.encode(part.arguments).decode()
                call = {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}
                items.append(call)
            elif isinstance(part, ToolResult):
                inner = part.content
                output = inner if isinstance(inner, str) else "".join(p.text for p in inner if isinstance(p, Text))
                items.append({"type": "function_call_output", "call_id": part.call_id, "output": output})
    return [{"id": f"item_{number}", "status": "completed", **item} for number, item in enumerate(items, 1)]


def page_of(items: list[dict[str, Any]], query: bytes) -> dict[str, Any]:
    """A page of items, as the query of the URL asks."""
    given = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    order, limit = given.get("order", "desc"), given.get("limit", "20")
    if order not in ("asc", "desc"):
        raise InvalidRequest("order is asc or desc", field="order")
    most = _limit(limit)
    if order == "desc":
        items = items[::-1]
    after = given.get("after")
    if after is not None:
        place = next((number for number, item in enumerate(items, 1) if item["id"] == after), None)
        if place is None:
            raise InvalidRequest("there is no such item", field="after")
        items = items[place:]
    page = items[:most]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, **ends, "has_more": len(page) < len(items)}


def _limit(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= _MOST_ITEMS:
        raise InvalidRequest(f"limit is a number from 1 to {_MOST_ITEMS}", field="limit")
    return int(given)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequest("the body is not a JSON object")
    return found


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
