"""Calls of an agent over HTTP, by JSON-RPC or HTTP+JSON: requests as they go out, answers and events as they come."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from three_mode.a2a import rpc
from three_mode.a2a.card import AgentInterface
from three_mode.a2a.faults import read_http, read_rpc
from three_mode.a2a.values import MEDIA_TYPE, ListTasksRequest, SendMessageRequest, StreamResponse, Value
from three_mode.channels.channel import too_large
from three_mode.errors import LLMError
from three_mode.providers.codec import Headers
from transports.http2 import Pool, Reply, Request, SSEDecoder, TimedOut, Timeouts

Result = TypeVar("Result")
_MOST_OF_AN_ERROR = 1 << 20


class HttpClient(Protocol):
    """The client that the calls are of."""

    name: str
    options: Any

    def common(self) -> Headers: ...
    async def fetch(self, request: Request, until: float, within: float) -> Reply: ...
    def check(self, status: int, body: bytes, headers: Headers) -> None: ...
    def decoded(self, kind: Any, body: bytes) -> Any: ...
    def converted(self, kind: type[Result], value: Any) -> Result: ...
    def told(self, error: LLMError) -> LLMError: ...
    def bad(self, what: str) -> LLMError: ...


class HttpCaller:
    """Calls at one interface of a card."""

    def __init__(self, client: HttpClient, pool: Pool, interface: AgentInterface, timeouts: Timeouts) -> None:
        self._client, self._pool, self._interface, self._timeouts = client, pool, interface, timeouts
        self._numbers = 0

    async def call(self, method: str, parameters: Value, kind: type[Result], until: float, within: float) -> Result:
        """What a method answers."""
        reply = await self._client.fetch(self._request(method, parameters), until, within)
        return self._result(kind, reply.content)

    def open(self, method: str, parameters: Value, until: float) -> "HttpEvents":
        """The events of a method that streams."""
        call = self._pool.request(self._request(method, parameters), timeouts=self._timeouts)
        return HttpEvents(self._client, call, self._event)

    async def close(self) -> None:
        """The connections are the client's."""

    def _request(self, method: str, parameters: Value) -> Request:
        interface = self._interface
        if interface.tenant is not None:
            parameters = msgspec.structs.replace(parameters, tenant=interface.tenant)
        if interface.protocol_binding == rpc.BINDING:
            self._numbers += 1
            body = {"jsonrpc": "2.0", "id": self._numbers, "method": method, "params": parameters}
            headers = (*self._client.common(), (b"content-type", b"application/json"))
            return Request.to("POST", interface.url, headers, msgspec.json.encode(body))
        verb, path, written = _written(method, parameters)
        headers = (*self._client.common(), (b"content-type", MEDIA_TYPE.encode()))
        tenant = f"/{interface.tenant}" if interface.tenant else ""
        return Request.to(verb, interface.url.rstrip("/") + tenant + path, headers, written)

    def _event(self, data: bytes) -> StreamResponse:
        return self._result(StreamResponse, data)

    def _result(self, kind: type[Result], body: bytes) -> Result:
        """What a method answered, out of its envelope."""
        client = self._client
        found = client.decoded(dict, body)
        if self._interface.protocol_binding != rpc.BINDING:
            if "error" in found and "id" not in found:
                raise client.told(read_http(500, body, client.name, None))
            return client.converted(kind, found)
        if found.get("error") is not None:
            raise client.told(read_rpc(found["error"], client.name))
        if "result" not in found:
            raise client.bad("its answer has neither a result nor an error")
        return client.converted(kind, found["result"])


class HttpEvents:
    """Server-sent events of one stream, or a document in their place."""

    def __init__(self, client: HttpClient, call: Any, read: Any) -> None:
        self._client, self._call, self._read = client, call, read
        self._exchange = call.exchange
        self._response: Any = None  # kept: one that nobody has ends its exchange
        self._decoder = SSEDecoder()
        self.ended = False

    async def start(self) -> list[StreamResponse]:
        """Sends the request, and waits for the head of its answer; the events that came with it."""
        self._response = response = await self._call.start()
        client = self._client
        if not 200 <= response.status < 300:
            body = await response.read(_MOST_OF_AN_ERROR)
            client.check(response.status, body, response.headers)
        if (response.header(b"content-type") or b"").startswith(b"text/event-stream"):
            return []
        # A document instead of a stream: an error, or an answer that is whole.
        return [self._read(await response.read(client.options.reply_bytes))]

    async def more(self) -> list[StreamResponse]:
        """The next events, as many as have come."""
        client, exchange = self._client, self._exchange
        data = await exchange.chunk()
        events = self._decoder.feed_data(data) if data else [event.data for event in self._decoder.finish()]
        self.ended = not data
        if exchange.received > client.options.reply_bytes:
            exchange.cancel()
            raise too_large(client.name, None, client.options.reply_bytes)
        return [self._read(event) for event in events]

    def give_up(self, error: TimedOut) -> None:
        """Whoever waits for events gets this error."""
        self._exchange.give_up(error)

    def close(self) -> None:
        """Ends the stream at the server."""
        self._exchange.cancel()


def _written(method: str, parameters: Value) -> tuple[str, str, bytes]:
    """Verb, path and body of a method in the HTTP+JSON binding."""
    if isinstance(parameters, SendMessageRequest):
        return "POST", "/message:send" if method == rpc.SEND else "/message:stream", msgspec.json.encode(parameters)
    fields = msgspec.to_builtins(parameters)
    fields.pop("tenant", None)
    if isinstance(parameters, ListTasksRequest):
        return "GET", "/tasks" + _query(fields), b""
    number = fields.pop("id")
    if method == rpc.GET:
        return "GET", f"/tasks/{number}" + _query(fields), b""
    return "POST", f"/tasks/{number}:{'cancel' if method == rpc.CANCEL else 'subscribe'}", b""


def _query(fields: Mapping[str, Any]) -> str:
    given = {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
    return f"?{urlencode(given)}" if given else ""
