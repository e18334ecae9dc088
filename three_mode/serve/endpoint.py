"""What all surfaces of one endpoint share: what answers, what there is room for, what is counted, and its end."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

from three_mode.errors import UnsupportedParameter
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, Reranked, RerankRequest
from three_mode.page.content import PageContent
from three_mode.page.session import Sessions
from three_mode.serve.asgi import Refused
from three_mode.serve.backend import (
    AgentVerbs,
    Backend,
    BeginningBackend,
    Begun,
    CountingBackend,
    ModelInfo,
    RerankingBackend,
    RuledBackend,
    TokenCount,
)
from three_mode.serve.bodies import Bodies
from three_mode.serve.chat import Chat
from three_mode.serve.events import EventHub
from three_mode.serve.faults import EndpointFault, fault
from three_mode.serve.metrics import EndpointMetrics
from three_mode.serve.options import ServeOptions
from three_mode.serve.ruled import RuledChat
from three_mode.serve.telling import TellingBackend, ToldBackend
from three_mode.serve.watching import EventWatch
from transports.bus import Bus

Shared = TypeVar("Shared")


class Cancellable(Protocol):
    """Something that answers a request, and is ended."""

    def cancel(self) -> object: ...


class EndpointState:
    """State of an endpoint. A request is told of twice: `begin` to `end` while it is here, `hold` to `release` while
    it is whole and is answered."""

    def __init__(
        self,
        options: ServeOptions,
        events: EventHub,
        agents: AgentVerbs | None = None,
        page: PageContent | None = None,
    ) -> None:
        self.options, self.events = options, events
        self._page = page
        self.sessions = Sessions()  # of pages that gave a key
        self.agents = agents  # on the bus, for programs in other languages; None: the endpoint has no bus
        self.metrics = EndpointMetrics()
        self.watch = EventWatch()
        self.bodies = Bodies(max(options.max_bodies, options.max_body))
        self.backend: Backend | None = None
        self._ruled = False  # whether it checks the names of models itself
        self.told: TellingBackend | None = None  # its chat verbs, whose events are told
        self.chat: Chat | None = None
        self.draining = False
        self.cut = False
        self.at_drain: set[Callable[[], None]] = set()  # of answers that would last for ever
        self.begin_completion: Begun | None = None  # of what answers, if it asks without a task
        self._running: set[Cancellable] = set()
        self._working = 0  # requests that are whole, and hold a place
        self._working_bytes = 0  # of their bodies
        self._kept_bytes = 0  # of conversations that last as long as their calls
        self._idle = asyncio.Event()  # of use while draining only
        self._shared: dict[Callable[[EndpointState], Any], Any] = {}

    @property
    def page(self) -> PageContent | None:
        """What the page shows; None: there is none. An orchestrator as `agents` may begin after its endpoint."""
        if self._page is None and isinstance(bus := getattr(self.agents, "bus", None), Bus):
            self._page = PageContent(bus)
        return self._page

    def use(self, backend: Backend) -> None:
        """This is what answers from now on."""
        rule = self.options.model_rule
        self._ruled = isinstance(backend, RuledBackend)
        if isinstance(backend, RuledBackend):
            backend = backend.ruled(rule)
        told: TellingBackend = backend if isinstance(backend, TellingBackend) else ToldBackend(backend)
        if not self._ruled:
            told = RuledChat(told, rule)
        self.begin_completion = told.begin_completion if isinstance(told, BeginningBackend) else None
        self.backend, self.told, self.chat = backend, told, Chat(told, self.events, self.metrics)
        self.events.follow(told.event_hub)

    def shared(self, make: "Callable[[EndpointState], Shared]") -> Shared:
        """What several surfaces have in common, such as tasks that are asked for in several protocols: made when the
        first of them asks."""
        if make not in self._shared:
            self._shared[make] = make(self)
        return cast("Shared", self._shared[make])

    def check_name(self, model: str | None) -> None:
        """Raises what a client is told who may not name this model. For verbs other than chat."""
        if not self._ruled:
            self.options.model_rule.check(model or "")

    async def embed(self, request: EmbedRequest) -> Embedded:
        """The vectors that the backend gives."""
        assert self.backend is not None
        self.check_name(request.model)
        return await self.backend.embed(request)

    async def rerank(self, request: RerankRequest) -> Reranked:
        """The documents in the order that the backend gives them; UnsupportedParameter where it orders none."""
        self.check_name(request.model)
        backend: object = self.backend
        if not isinstance(backend, RerankingBackend):
            raise UnsupportedParameter("what answers here reranks no documents", field="model")
        return await backend.rerank(request)

    async def count(self, request: LLMRequest) -> TokenCount:
        """The tokens of a request: exact where whoever answers can count, else about as many."""
        self.check_name(request.model)
        backend: object = self.backend
        if isinstance(backend, CountingBackend):
            return await backend.count(request)
        from three_mode.providers.estimate import estimate_tokens

        return TokenCount(estimate_tokens(request, request.model or ""), exact=False)

    async def models(self) -> Sequence[ModelInfo]:
        """What clients may name; of a backend that does not judge names itself, those of its models."""
        if self.backend is None:
            raise Refused(starting())
        known, only = await self.backend.available_models(), self.options.only_models
        return known if self._ruled or only is None else [model for model in known if model.id in only]

    def begin(self) -> "asyncio.Task[Any]":
        """A request came, in the current task."""
        task = asyncio.current_task(self.watch.loop)
        assert task is not None
        self.metrics.in_flight += 1
        self._running.add(task)
        return task

    def enter(self, answer: Cancellable, size: int) -> None:
        """A request came that is whole, has so many bytes, and is answered without a task."""
        self.metrics.in_flight += 1
        self._running.add(answer)
        self.hold(size)

    def leave(self, answer: Cancellable, size: int) -> None:
        """It is answered, will never be, or goes on in a task."""
        self.release(size)
        self.end(answer)

    def end(self, task: Cancellable) -> None:
        """Its answer is given, or will never be."""
        self.metrics.in_flight -= 1
        self._running.discard(task)
        if self.draining and self.metrics.in_flight == 0:
            self._idle.set()

    def admit(self, size: int = 0) -> None:
        """Whether one more request, of so many bytes, can be answered; Refused where it cannot."""
        if self.draining:
            raise Refused(going_down())
        if self.backend is None:
            raise Refused(starting())
        if self._working >= self.options.max_in_flight:
            raise Refused(overloaded(f"{self.options.max_in_flight} requests are being answered already"))
        if self._working_bytes + size > self.bodies.limit:
            raise Refused(overloaded("requests of too many bytes are being answered already"))

    def hold(self, size: int) -> None:
        """A whole request of so many bytes is being answered."""
        self._working += 1
        self._working_bytes += size

    def release(self, size: int) -> None:
        """It is not, any more."""
        self._working -= 1
        self._working_bytes -= size

    def keep(self, more: int) -> None:
        """A conversation has so many bytes more, or fewer; Refused where all of them together have too many."""
        if more > 0 and self._kept_bytes + more > self.bodies.limit:
            raise Refused(overloaded("conversations of too many bytes are kept already"))
        self._kept_bytes += more

    async def drain(self) -> bool:
        """True when all that ran has ended within the time it had."""
        self.draining = True
        for wake in list(self.at_drain):
            wake()
        if not self.metrics.in_flight:
            return True
        try:
            async with asyncio.timeout(self.options.drain_within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def cut_off(self) -> None:
        """Ends what still runs: the server below waits for it, however long that takes."""
        self.cut = True
        for one in list(self._running):
            one.cancel()


def overloaded(why: str) -> EndpointFault:
    return fault(503, why, "overloaded", retry_after=1)


def starting() -> EndpointFault:
    return fault(503, "the endpoint has not started: its server sent it no lifespan event", "starting", retry_after=1)


def going_down() -> EndpointFault:
    return fault(503, "the endpoint is shutting down", "draining", retry_after=1)
