"""Answers requests without a task, where nothing has to be waited for but one agent.

    AtOnce.take ──> the surface reads the body ──> the agent is asked ──> AtOnceAnswer.done ──> the answer goes out
     └─ None, or any error: the normal way           └─ it failed: the normal way goes on from there

The normal way (app.py) is that of everything else: what is refused, streamed, told to somebody, or asked of a provider.
It begins from the first byte of the request, so that this way has neither refusals nor shapes of its own.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from msgspec import Struct

from three_mode.messages import LLMResponse
from three_mode.serve import guard
from three_mode.serve.asgi import JSON, AsgiExchange, Refused
from three_mode.serve.asked_as import new_number
from three_mode.serve.backend import BegunCall
from three_mode.serve.endpoint import EndpointState, going_down
from three_mode.serve.intake import READ_BESIDE, WITHIN, Intake
from three_mode.serve.routes import Answer, AskedWhole, PathRoute, Routes
from three_mode.serve.surfaces import GRPC
from transports.http2.server import Cycle, RequestHead

_HEADERS = (JSON,)
_GONE = 499
# Has the normal way answer by this route, from where a request is now.
HandOver = Callable[[Cycle, PathRoute], None]


class _Plan(NamedTuple):
    """What is known of all requests with one head."""

    route: PathRoute
    read: Callable[[bytes, float, int], AskedWhole | None]
    within: float


class AtOnce:
    """The requests of one endpoint that may be answered at once."""

    def __init__(self, endpoint: EndpointState, routes: Routes, intake: Intake, hand_over: HandOver) -> None:
        self.endpoint, self.hand_over = endpoint, hand_over
        self._routes, self._intake, self._options = routes, intake, endpoint.options
        self._longest = min(self._options.max_body, READ_BESIDE - 1)

    def take(self, cycle: Cycle) -> bool:
        """Whether a request is answered here."""
        plan = cycle.head.notes.get(self)
        if plan is None:
            plan = self._plan(cycle.head)
            if plan is None:
                return False
        begin, body = self.endpoint.begin_completion, cycle.body
        if begin is None or len(body) > self._longest or self.endpoint.events:  # somebody is told of what happens
            return False
        started = time.perf_counter()
        try:
            self.endpoint.admit(len(body))
            asked = plan.read(body, plan.within, self._options.max_messages)
            if asked is None:
                return False
            answer = AtOnceAnswer(self, cycle, plan.route, asked, started, len(body))
            call = begin(asked.request, answer.done)
        except Exception:  # noqa: BLE001  # the normal way says what is wrong
            return False
        if call is None:
            return False
        answer.call = call
        cycle.when_gone = answer.gone
        self.endpoint.enter(answer, len(body))
        return True

    def _plan(self, head: RequestHead) -> _Plan | None:
        """What is known of such requests; None, of most of them."""
        route = self._routes.find(head.path)
        if route is not None and route.behind is not None:
            route = route.behind(head.path)
        if route is None or route.read_whole is None or route.method != head.method:
            return None
        headers = dict(head.headers[::-1])  # of a name given twice, the first

        def header(name: bytes) -> str | None:
            found = headers.get(name)
            return None if found is None else found.decode("latin-1")

        if b"origin" in headers or b"traceparent" in headers or headers.get(b"content-type", b"").startswith(GRPC):
            return None
        if guard.refusal(self._options, header) is not None:
            return None
        try:
            within = self._intake.seconds(header(WITHIN))
        except Refused:
            return None
        plan = head.notes[self] = _Plan(route, route.read_whole, within)
        return plan


class AtOnceAnswer(Struct, eq=False):
    """A request whose agent was asked."""

    of: AtOnce
    cycle: Cycle
    route: PathRoute
    asked: AskedWhole
    started: float
    size: int
    call: BegunCall | None = None
    left: bool = False  # to the normal way

    def done(self, found: LLMResponse | Callable[[], Coroutine[Any, Any, LLMResponse]]) -> None:
        """The agent has answered, or failed."""
        if not isinstance(found, LLMResponse):
            self._leave_to(self._going_on(found))
            return
        asked, endpoint = self.asked, self.of.endpoint
        try:
            body = asked.written(found, asked.number or new_number())
        except Exception as error:  # noqa: BLE001  # the normal way says what becomes of it
            self._leave_to(_raising(error))
            return
        endpoint.leave(self, self.size)
        took = time.perf_counter() - self.started
        endpoint.metrics.answered(self.route.path, asked.request.model or "", found.usage, took)
        self.cycle.answer(200, (JSON, *asked.always) if asked.always else _HEADERS, body)

    def gone(self) -> None:
        """The client has left: nothing works for nobody."""
        assert self.call is not None
        self.call.cancel()
        endpoint = self.of.endpoint
        endpoint.leave(self, self.size)
        endpoint.metrics.finished(self.route.path, "", _GONE, time.perf_counter() - self.started)

    def cancel(self) -> None:
        """The endpoint ends."""
        if self.left:
            return  # its task will see that the endpoint ends
        assert self.call is not None
        self.call.cancel()
        self._leave_to(_raising(Refused(going_down())))

    def _leave_to(self, answer: Answer) -> None:
        """The normal way goes on with this answer: it is counted there."""

        async def taken_over(exchange: AsgiExchange) -> str:
            self.of.endpoint.leave(self, self.size)
            if self.of.endpoint.cut:
                raise Refused(going_down())
            exchange.always = (*exchange.always, *self.asked.always)
            return await answer(exchange)

        self.left = True
        self.of.hand_over(self.cycle, self.route._replace(answer=taken_over))

    def _going_on(self, reply: Callable[[], Coroutine[Any, Any, LLMResponse]]) -> Answer:
        """The answer once the normal way has the reply."""
        asked, endpoint = self.asked, self.of.endpoint

        async def going_on(exchange: AsgiExchange) -> str:
            assert endpoint.chat is not None
            endpoint.hold(self.size)
            try:
                await endpoint.chat.whole(exchange, asked.request, asked.written, asked.number, reply)
            finally:
                endpoint.release(self.size)
            return asked.request.model or ""

        return going_on


def _raising(error: Exception) -> Answer:
    async def answer(exchange: AsgiExchange) -> str:
        raise error

    return answer
