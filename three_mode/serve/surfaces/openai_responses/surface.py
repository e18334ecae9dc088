"""Answers requests of `/v1/responses`."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from three_mode.errors import DeadlineExceeded, InvalidRequest, NoSuchConversation, ThreeModeError
from three_mode.messages import LLMResponse
from three_mode.serve.asgi import AsgiExchange, Refused
from three_mode.serve.asked_as import new_name
from three_mode.serve.chat import Chat
from three_mode.serve.conversations import ConversationBackend, items_of, page_of
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import fault
from three_mode.serve.intake import Intake
from three_mode.serve.routes import AskedWhole, PathRoute
from three_mode.serve.surfaces.openai_responses import body
from three_mode.serve.surfaces.openai_responses.body import KnownResponse
from three_mode.serve.surfaces.openai_responses.keeping import PREFIX, KeptAnswer, ResponseStore, check_kept
from three_mode.serve.surfaces.openai_responses.reading import ResponseQuestion, read_response
from three_mode.serve.surfaces.openai_responses.writer import ResponseWriter
from three_mode.serve.wire_in import STREAMED

PATH = "/v1/responses"
_NO_STORE = "this endpoint keeps no responses"


class _Running(NamedTuple):
    """A response that streams."""

    answer: KeptAnswer
    writer: ResponseWriter
    ended: asyncio.Event


class ResponsesSurface:
    """Responses of one endpoint."""

    def __init__(self, endpoint: EndpointState, intake: Intake) -> None:
        self._endpoint, self._intake = endpoint, intake
        self._running: dict[str, _Running] = {}  # as many at most as the endpoint answers at once

    def routes(self) -> Sequence[PathRoute]:
        create = PathRoute("POST", PATH, self._intake.whole(self._create), read_whole=self._read_whole)
        return create, PathRoute("", PATH + "/", self._answer_known)

    def _store(self) -> ResponseStore | None:
        backend = self._endpoint.backend
        return ResponseStore(backend) if isinstance(backend, ConversationBackend) else None

    def _read_whole(self, data: bytes, within: float, most_items: int) -> AskedWhole | None:
        """A request for an answer that is not streamed, and is neither kept nor goes on from what is."""
        if STREAMED.search(data) or self._store() is not None:
            return None
        asked = read_response(data, within, most_items)
        if asked.stream:
            return None
        _check_alone(asked)
        known = KnownResponse(new_name(PREFIX, 48), int(time.time()), asked, kept=False)
        return AskedWhole(asked.request, lambda reply, _: msgspec.json.encode(body.whole(known, reply)), known.id)

    async def _create(self, exchange: AsgiExchange, data: bytes, within: float) -> str:
        asked = await self._intake.read(read_response, data, within)
        store = self._store()
        known = KnownResponse(
            PREFIX + secrets.token_hex(24), int(time.time()), asked, store is not None and asked.store
        )
        request, said = asked.request, asked.request.messages[1 if asked.instructions else 0 :]
        if store is None:
            _check_alone(asked)
        elif asked.previous is not None or asked.conversation is not None:
            assert request.within is not None
            async with _free_within(request.within):
                before = await store.before(known)
            first = request.messages[: len(request.messages) - len(said)]
            request = replace(request, messages=(*first, *before, *said))
        keep = None
        if store is not None and known.kept:
            check_kept(said)

            async def keep(reply: LLMResponse) -> None:
                await store.keep(known, said, reply)

        backend = self._endpoint.told
        assert backend is not None
        answer = KeptAnswer(backend, keep)
        chat = Chat(answer, self._endpoint.events, self._endpoint.metrics)
        if not asked.stream:
            await chat.whole(
                exchange, request, lambda reply, _: msgspec.json.encode(body.whole(known, reply)), known.id
            )
            return request.model or ""
        running = _Running(answer, ResponseWriter(known), asyncio.Event())
        self._running[known.id] = running
        try:
            await chat.streamed(exchange, request, lambda _: running.writer, known.id)
        finally:
            del self._running[known.id]
            running.ended.set()
        return request.model or ""

    async def _answer_known(self, exchange: AsgiExchange) -> str:
        """A response that is there: retrieved, cancelled, deleted, or its input listed."""
        self._endpoint.admit()
        name, _, rest = exchange.path.removeprefix(PATH + "/").partition("/")
        async with _free_within(self._intake.within(exchange)):
            found = await self._known(exchange, name, rest)
        await exchange.answer(200, msgspec.json.encode(found))
        return ""

    async def _known(self, exchange: AsgiExchange, name: str, rest: str) -> dict[str, Any]:
        what = (exchange.method, rest)
        if what == ("POST", "cancel"):
            return await self._cancel(name)
        if what not in (("GET", ""), ("DELETE", ""), ("GET", "input_items")):
            raise Refused(fault(404, "no such path or method of responses", "no_such_path"))
        running = self._running.get(name)
        if running is not None and what == ("GET", ""):
            return body.begun(running.writer.known)
        store = self._store()
        if store is None:
            raise Refused(fault(404, f"{_NO_STORE} (--talks FILE)", "response_not_found"))
        if exchange.method == "DELETE":
            await store.delete(name)
            return {"id": name, "object": "response", "deleted": True}
        if rest:
            return page_of(items_of(await store.input_of(name)), exchange.query)
        return await store.retrieve(name)

    async def _cancel(self, name: str) -> dict[str, Any]:
        """Ends a response that streams: its reader gets what came so far as the whole of it."""
        running = self._running.get(name)
        if running is None:
            store = self._store()
            if store is not None:
                await store.open(name)  # whether there is one
                raise InvalidRequest("the response has ended: it cannot be cancelled", field="response_id")
            raise NoSuchConversation(f"no response {name[:100]!r} is being answered")
        if running.answer.streaming is not None:
            running.answer.streaming.stop()
        await running.ended.wait()
        if running.writer.last is None:
            raise NoSuchConversation("the response ended before it had begun")
        return running.writer.last


@asynccontextmanager
async def _free_within(within: float) -> AsyncIterator[None]:
    """A deadline for what waits for a kept response, whose errors speak of responses."""
    try:
        async with asyncio.timeout(within):
            yield
    except TimeoutError as error:
        if isinstance(error, ThreeModeError):
            raise
        raise DeadlineExceeded(f"the response was not free within {within:g} s") from None
    except NoSuchConversation as error:
        raise Refused(fault(404, str(error), "response_not_found")) from None


def _check_alone(asked: ResponseQuestion) -> None:
    """Where nothing is kept, nothing can go on."""
    for name, value in (("previous_response_id", asked.previous), ("conversation", asked.conversation)):
        if value is not None:
            raise InvalidRequest(
                _NO_STORE, field=name, hint="send what came before in input, or serve with --talks FILE"
            )
