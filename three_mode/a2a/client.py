"""A client of one agent of A2A: its card, its methods in any of the three bindings, and its streams.

    async with A2AClient("https://example.com/a2a/planner", key=key) as planner:
        task = await planner.send("A trip to Rome", within=60)

Every call has a deadline. A server that hangs, dies, or sends what the protocol does not know is a named error, and no
answer has more bytes than the options allow.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urljoin

import msgspec
from msgspec import Struct

from three_mode.a2a import http_json, rpc
from three_mode.a2a.card import GRPC, AgentCard, AgentInterface
from three_mode.a2a.faults import read_http
from three_mode.a2a.http_caller import HttpCaller
from three_mode.a2a.stream import A2AStream, EventSource
from three_mode.a2a.values import (
    VERSION,
    VERSION_HEADER,
    WELL_KNOWN,
    A2AMessage,
    A2APart,
    ListTasksRequest,
    ListTasksResponse,
    SendConfiguration,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskRequest,
    Value,
    said_by,
)
from three_mode.channels.channel import REPLY_BYTES, too_large
from three_mode.channels.http import error_of
from three_mode.config.secret import Secret
from three_mode.errors import BadReply, ConfigurationError, DeadlineExceeded, LLMError, ThreeModeError
from three_mode.handling import DEFAULT_WITHIN
from three_mode.providers.codec import Headers
from three_mode.providers.headers import retry_after
from three_mode.providers.refusals import cleaned, secrets_of
from transports.grpc import GrpcError, GrpcStatus, read_address
from transports.http2 import (
    ConnectFailed,
    LimitExceeded,
    Pool,
    PoolOptions,
    Reply,
    Request,
    TimedOut,
    Timeouts,
    TransportError,
    split_url,
)

Result = TypeVar("Result")
Said = str | A2APart | A2AMessage

_ASKED_AGAIN = 0.2  # seconds between two looks at a task that its server did not wait for, at first
_ASKED_AT_MOST = 2.0
_CANCEL_WITHIN = 5.0  # seconds that a server has to cancel a task that nobody waits for any more
BINDINGS = (rpc.BINDING, http_json.BINDING, GRPC)


class BindingCaller(Protocol):
    """Calls in one binding."""

    async def call(self, method: str, parameters: Value, kind: type[Result], until: float, within: float) -> Result: ...
    def open(self, method: str, parameters: Value, until: float) -> EventSource: ...
    async def close(self) -> None: ...


class A2AClientOptions(Struct, frozen=True, kw_only=True):
    """Options of an `A2AClient`."""

    #: "JSONRPC", "HTTP+JSON" or "GRPC"; None: the first that the card has and is spoken here, of those GRPC last
    binding: str | None = None
    #: bytes of the longest answer, and of all events of a stream
    reply_bytes: int = REPLY_BYTES
    #: seconds without a byte after which a stream over HTTP is dead
    idle: float = 60.0
    #: headers of each request
    headers: Mapping[str, str] = {}
    #: the pool of connections
    pool: PoolOptions = PoolOptions()

    def __post_init__(self) -> None:
        if self.binding not in (None, *BINDINGS):
            raise ConfigurationError(f"{self.binding!r} is no binding of A2A", hint=f"one of {', '.join(BINDINGS)}")


class A2AClient:
    """One agent of A2A, by its URL: where its card is, or what `/.well-known/agent-card.json` stands below."""

    def __init__(self, url: str, *, key: str | None = None, options: A2AClientOptions | None = None) -> None:
        """`key` goes with each request as a bearer token, to no other origin than that of `url`."""
        self.url, self.options = url.rstrip("/"), options or A2AClientOptions()
        self._key = Secret(key) if key else None
        self._card_url = self.url if self.url.endswith(".json") else self.url + WELL_KNOWN
        try:
            self._origin, _ = split_url(self._card_url)
        except TransportError as error:
            raise ConfigurationError(str(error), hint="https://HOST/PATH of an agent") from None
        self.name = f"a2a {self._origin}"
        self._pool = Pool(self.options.pool)
        given = {**self.options.headers, **({"authorization": f"Bearer {key}"} if key else {})}
        self._secrets = secrets_of(key, given)
        self._headers = tuple((name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in given.items())
        self._timeouts = Timeouts(pool=None, first_byte=None, idle=self.options.idle)
        self._card: AgentCard | None = None
        self._interface: AgentInterface | None = None
        self._calls: BindingCaller | None = None
        self._cancelling: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls, once the tasks that were left are cancelled at their server."""
        if self._cancelling:
            await asyncio.wait(self._cancelling, timeout=_CANCEL_WITHIN)
        if self._calls is not None:
            await self._calls.close()
        await self._pool.aclose()

    # methods ----------------------------------------------------------------------------------------------------------
    async def card(self, *, within: float = DEFAULT_WITHIN) -> AgentCard:
        """The agent's card, asked for once."""
        if self._card is None:
            until = _until(within)
            reply = await self.fetch(Request.to("GET", self._card_url, self.common()), until, within)
            if self._card is None:  # by another call that began before it was there
                card = self.decoded(AgentCard, reply.content)
                self._interface = self._chosen(card)
                self._calls, self._card = self._calling(self._interface), card
        return self._card

    async def send(
        self,
        said: Said,
        *,
        task: str | None = None,
        context: str | None = None,
        within: float = DEFAULT_WITHIN,
    ) -> Task | A2AMessage:
        """Send a message, and wait until its task is finished or waits for the user.

        `task`: a task that waits, which the message continues. `context`: a conversation that it belongs to. An agent
        may answer with a message and no task. A call that is cancelled cancels the task.
        """
        until = _until(within)
        card = await self.card(within=within)
        if card.capabilities.streaming:
            async with self.stream(said, task=task, context=context, within=_left(until)) as events:
                async for _ in events:
                    pass
            return events.fold.message or events.task()
        found = await self._call(rpc.SEND, _message(said, task, context), StreamResponse, until, within)
        if found.message is not None:
            return found.message
        if found.task is None:
            raise self.bad("it answered a message with neither a task nor a message")
        return await self._settled(found.task, until, within)

    def stream(
        self,
        said: Said,
        *,
        task: str | None = None,
        context: str | None = None,
        within: float = DEFAULT_WITHIN,
    ) -> A2AStream:
        """Send a message, and read the events of its task: `async with client.stream(...) as events`.

        It ends when the task is finished or waits for the user. Leaving it before cancels the task.
        """
        return A2AStream(self, rpc.STREAM, _message(said, task, context), within)

    def subscribe(self, task: str, *, within: float = DEFAULT_WITHIN) -> A2AStream:
        """Read the events of a task that is there. Leaving it leaves the task alone."""
        return A2AStream(self, rpc.SUBSCRIBE, TaskRequest(id=task), within)

    async def task(self, task: str, *, history: int | None = None, within: float = DEFAULT_WITHIN) -> Task:
        """A task as it is now, with so many of its last messages; None: with as many as the server gives."""
        asked = TaskRequest(id=task, history_length=history)
        return await self._call(rpc.GET, asked, Task, _until(within), within)

    async def cancel(self, task: str, *, within: float = DEFAULT_WITHIN) -> Task:
        """End a task, and return it as it is then."""
        return await self._call(rpc.CANCEL, TaskRequest(id=task), Task, _until(within), within)

    async def tasks(
        self, asked: ListTasksRequest | None = None, *, within: float = DEFAULT_WITHIN
    ) -> ListTasksResponse:
        """A page of the tasks that this client may see."""
        return await self._call(rpc.LIST, asked or ListTasksRequest(), ListTasksResponse, _until(within), within)

    async def _settled(self, task: Task, until: float, within: float) -> Task:
        """A task whose server did not wait for it: asked for until it is settled."""
        wait = _ASKED_AGAIN
        try:
            while not (task.status.state.finished or task.status.state.waits):
                if _left(until) <= wait:
                    raise self.too_late(within)
                await asyncio.sleep(wait)
                wait = min(wait * 1.5, _ASKED_AT_MOST)
                task = await self._call(rpc.GET, TaskRequest(id=task.id), Task, until, within)
        except (asyncio.CancelledError, DeadlineExceeded):
            self.leave(task.id)
            raise
        return task

    def leave(self, task: str) -> None:
        """Have a task cancelled that nobody waits for any more, without waiting for that."""

        async def cancel() -> None:
            try:
                await self.cancel(task, within=_CANCEL_WITHIN)
            except ThreeModeError:
                pass  # it has ended, or its server has

        leaving = asyncio.get_running_loop().create_task(cancel())
        self._cancelling.add(leaving)
        leaving.add_done_callback(self._cancelling.discard)

    # requests ---------------------------------------------------------------------------------------------------------
    async def open(self, method: str, parameters: Value, until: float) -> EventSource:
        """The events of a method that streams."""
        caller = await self._caller(until)
        return caller.open(method, parameters, until)

    async def _call(self, method: str, parameters: Value, kind: type[Result], until: float, within: float) -> Result:
        caller = await self._caller(until)
        return await caller.call(method, parameters, kind, until, within)

    async def _caller(self, until: float) -> BindingCaller:
        """Who calls in the binding that was chosen from the card."""
        await self.card(within=_left(until))
        assert self._calls is not None
        return self._calls

    async def fetch(self, request: Request, until: float, within: float) -> Reply:
        """The whole answer to a request over HTTP; what a server refuses is raised."""
        try:
            reply = await self._pool.fetch(
                request, timeouts=self._timeouts, max_bytes=self.options.reply_bytes, until=until
            )
        except TransportError as error:
            raise self.failure(error, within) from None
        self.check(reply.status, reply.content, reply.headers)
        return reply

    def check(self, status: int, body: bytes, headers: Headers) -> None:
        """Raise what a server refused over HTTP."""
        if not 200 <= status < 300:
            raise self.told(read_http(status, body, self.name, retry_after(headers)))

    def decoded(self, kind: Any, body: bytes) -> Any:
        """A value out of JSON."""
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.bad(f"its answer cannot be read: {error}") from None

    def converted(self, kind: type[Result], value: Any) -> Result:
        """A value of the protocol out of plain data."""
        try:
            return msgspec.convert(value, kind, strict=False)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self.bad(f"its answer does not follow the protocol: {error}") from None

    # errors -----------------------------------------------------------------------------------------------------------
    def bad(self, what: str) -> LLMError:
        """The error for an answer that does not follow the protocol."""
        return self.told(BadReply(f"{self.name}: {what}", provider=self.name))

    def told(self, error: LLMError) -> LLMError:
        """The error as it may be shown: without the key."""
        return cleaned(error, self._secrets)

    def too_late(self, within: float) -> DeadlineExceeded:
        """The error for a call that took too long."""
        return DeadlineExceeded(f"{self.name}: no answer within {within:g} s", stage="total", provider=self.name)

    def failure(self, error: TransportError | GrpcError, within: float) -> ThreeModeError:
        """The error of a transport, or the status that ended a call of gRPC, as ours."""
        if isinstance(error, GrpcError):
            return self._ended(error, within)
        if isinstance(error, TimedOut) and error.phase == "total":
            return self.too_late(within)
        if isinstance(error, LimitExceeded):
            return too_large(self.name, None, self.options.reply_bytes)
        found = error_of(error, self.name, None)
        if isinstance(error, ConnectFailed):
            found.hint = "is the URL right, and the server up?"
        return self.told(found) if isinstance(found, LLMError) else found

    def _ended(self, error: GrpcError, within: float) -> ThreeModeError:
        from three_mode.a2a.protobuf import read_fault

        if error.status is GrpcStatus.DEADLINE_EXCEEDED:
            return self.too_late(within)
        found = read_fault(error, self.name)
        return self.told(found) if isinstance(found, LLMError) else found

    def common(self) -> Headers:
        """The headers of each request over HTTP."""
        return (
            (VERSION_HEADER.encode(), VERSION.encode()),
            (b"accept", b"application/json, text/event-stream"),
            *self._headers,
        )

    def _chosen(self, card: AgentCard) -> AgentInterface:
        """The first interface that both sides speak; of those, gRPC last, since it needs more."""
        wanted = self.options.binding
        spoken = [
            interface
            for interface in card.supported_interfaces
            if interface.protocol_binding in (BINDINGS if wanted is None else (wanted,))
            and (interface.protocol_version or VERSION).split(".")[0] == VERSION.split(".")[0]
        ]
        spoken.sort(key=lambda interface: interface.protocol_binding == GRPC)
        if spoken:
            return self._checked(spoken[0])
        offered = ", ".join(
            f"{each.protocol_binding[:40]} {each.protocol_version[:20]}" for each in card.supported_interfaces[:8]
        )
        raise BadReply(
            f"{self.name}: its card has no interface that is {'spoken' if wanted is None else 'asked for'} here, "
            f"of: {offered or 'none'}",
            hint=f"{', '.join(BINDINGS) if wanted is None else wanted} of {VERSION}",
            provider=self.name,
            retryable=False,
        )

    def _checked(self, interface: AgentInterface) -> AgentInterface:
        """The interface, with its whole URL. A key goes to no other origin than the one that it was given for."""
        try:
            if interface.protocol_binding == GRPC:
                from three_mode.a2a.grpc_caller import address_of

                url = address_of(interface.url, self._card_url)
                address = read_address(url)
                if address.unix_socket is not None:
                    raise ConfigurationError(
                        f"{interface.url[:80]!r} is a socket of this machine, which a card may not open"
                    )
                origin = address.origin
            else:
                url = urljoin(self._card_url, interface.url)
                origin, _ = split_url(url)
        except (TransportError, ConfigurationError) as error:
            raise self.bad(f"its card names no URL: {error}") from None
        if origin != self._origin and self._headers:
            raise BadReply(
                f"{self.name}: its card leads to {origin}, where the key and headers given here do not go",
                hint="give the URL of that server",
                provider=self.name,
                retryable=False,
            )
        return msgspec.structs.replace(interface, url=url)

    def _calling(self, interface: AgentInterface) -> BindingCaller:
        if interface.protocol_binding != GRPC:
            return HttpCaller(self, self._pool, interface, self._timeouts)
        from three_mode.a2a.grpc_caller import GrpcCaller

        return GrpcCaller(self, interface, self._headers, insecure=self._origin.scheme == "http")


def _message(said: Said, task: str | None, context: str | None) -> SendMessageRequest:
    """The parameters of a message."""
    if isinstance(said, A2AMessage):
        message = msgspec.structs.replace(said, task_id=task or said.task_id, context_id=context or said.context_id)
    else:
        part = A2APart(text=said) if isinstance(said, str) else said
        message = said_by("ROLE_USER", (part,), task_id=task or None, context_id=context or None)
    return SendMessageRequest(message=message, configuration=SendConfiguration(return_immediately=False))


def _until(within: float) -> float:
    return asyncio.get_running_loop().time() + within


def _left(until: float) -> float:
    return max(0.001, until - asyncio.get_running_loop().time())
