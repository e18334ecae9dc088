"""One API for any model.

    async with LLMConnection(provider="openai", api_key=...) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}], model="gpt-5"))
        async for chunk in llm.stream(request): print(chunk.text, end="")

Which provider, model and key, where it is not said here: see config/settings.py. What happens around a call: policies/.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from three_mode.calls.accounts import CUSTOM, Account, Accounts, with_own
from three_mode.calls.batch import Outcome, Progress, run_batch
from three_mode.calls.book import Book, OneCall, new_request_id
from three_mode.calls.detection import Provider
from three_mode.calls.embedding import Embedding
from three_mode.calls.engine import Engine
from three_mode.calls.guards import Guarding
from three_mode.calls.health import Health, ask_all
from three_mode.calls.hooks import hooked
from three_mode.calls.options import ConnectionOptions, Observing
from three_mode.calls.short_ways import FirstTry, ShortWays
from three_mode.calls.stream import ReplyStream
from three_mode.calls.streamed import StreamedCall
from three_mode.calls.targets import Targets
from three_mode.calls.terms import Terms
from three_mode.channels.human_ai import HumanAI
from three_mode.channels.local_names import LocalNames
from three_mode.config import Settings, Sources
from three_mode.dispatcher import AGENT, LOCAL, Dispatcher, OwnChannel, target_of
from three_mode.errors import ConfigurationError
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse
from three_mode.modes import CommunicationMode, resolve
from three_mode.observe.metrics import Metrics
from three_mode.observe.records import Recorder
from three_mode.observe.spans import Tracer
from three_mode.policies import Call, Ledger, Policies, Prices, Router, Spent, Target
from three_mode.policies.caches import cache_of
from three_mode.providers.capabilities import Capabilities, capabilities
from three_mode.providers.estimate import estimate_tokens
from transports.http2 import Pool

if TYPE_CHECKING:
    from three_mode.channels.local_answers import LocalAnswers

__all__ = ["Account", "ConnectionOptions", "Health", "LLMConnection", "Observing", "Progress", "ReplyStream"]


class LLMConnection:
    """Calls to models. Opens nothing before the first call; belongs to the event loop of that call."""

    def __init__(
        self,
        provider: str | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        model: str | None = None,
        mode: CommunicationMode | str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        policies: Policies | None = None,
        observe: Observing | None = None,
        options: ConnectionOptions | None = None,
        bus: Any = None,
    ) -> None:
        """`bus` is a joined `transports.bus.Bus`, for `agent:NAME`; without one it is the bus that this event loop is on."""
        self._bus = bus
        self._options = options = options or ConnectionOptions()
        self._observe = observe = observe or Observing()
        settings = Sources(options.config).settings()
        self._policies = policies = _retrying(policies or Policies(), max_retries, settings)
        self._model = model
        mode = CommunicationMode(mode) if mode is not None else settings.mode
        self._pool: Pool | None = None
        self._closed = False
        self._guards = guards = Guarding(policies, options.clock)
        if provider is None and base_url is not None:
            provider = CUSTOM
        given, named = options.accounts, provider or settings.provider
        if named is not None:
            own = Account(api_key=api_key, base_url=base_url, headers=options.headers)
            given = with_own(given, named, own)
        elif api_key:
            raise ConfigurationError("api_key= without provider= or base_url=", hint="say whose key it is")
        elif options.headers:  # they may hold a key too, and whichever provider is found would be told it
            raise ConfigurationError(
                "ConnectionOptions(headers=...) without provider= or base_url=",
                hint="say whose headers they are, or give them to one: accounts={'openai': Account(headers=...)}",
            )
        self._accounts = accounts = Accounts(settings, given, options.safety, self._shared_pool, guards.learn)
        self._terms = terms = Terms(accounts, settings, timeout, observe.label)
        self._human = HumanAI(accounts.endpoint)
        self._provider = Provider(
            accounts.profile(named).name if named is not None else None,
            options.detection_order or settings.detection_order,
            accounts,
            self._human.endpoint,
        )
        self._local_names = LocalNames()
        self.metrics = Metrics()
        prices = options.prices
        if prices is None:
            prices = Prices()
            prices.prepare()
        self._targets = Targets(
            self._provider,
            model,
            mode,
            settings,
            accounts,
            policies,
            Router(policies.routes, prices, self.metrics.latency),
            self._local_names,
        )
        self._targets.check_safety()
        self._book = book = Book(
            prices,
            Ledger(policies.budgets),
            self.metrics,
            Recorder(observe.records) if observe.records is not None else None,
            Tracer(observe.tracer) if observe.spans else None,
            observe.log_content,
        )
        self._cache = cache_of(policies.cache, options.clock) if policies.cache is not None else None
        self._dispatcher = dispatcher = Dispatcher(self._human, self._agent_channel, self._local_channel)
        self._engine = Engine(dispatcher, accounts, policies, guards, book, self._cache, options.clock)
        self._embedding = Embedding(dispatcher, accounts, policies.retry, guards, book, options.clock)
        self._short_ways = ShortWays(model, dispatcher, accounts, guards, book, terms, policies, observe.after)

    def __repr__(self) -> str:
        return f"<LLMConnection to {self._provider.name or 'the first available provider'}>"

    # Calls

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The whole reply. Raises one of `three_mode.errors`; see there."""
        to_agent = self._short_ways.known.get((request.model or self._model, request.mode))
        if to_agent is None or not to_agent.enter():
            return await self._at_length(request)
        call = to_agent.begin(request)
        if isinstance(call, FirstTry):
            return await self._at_length(request, call)
        try:
            answer = await call[0].future
        except asyncio.CancelledError:
            to_agent.cancelled(call)
            raise
        reply = to_agent.end(call, answer, request)
        return reply if isinstance(reply, LLMResponse) else await self._at_length(request, reply)

    async def _at_length(self, request: LLMRequest, first: FirstTry | None = None) -> LLMResponse:
        """With all that policies may do before an attempt and after it."""
        one, targets = await self._begin(request)
        if first is not None:
            one.policy.began, one.policy.deadline, one.failed = first
        try:
            reply = await self._engine.complete(one, targets)
            if self._observe.after is not None:
                reply = await hooked(self._observe.after, reply)
        except BaseException as error:
            self._book.failed(one, error)
            raise
        self._book.finished(one, reply)
        return reply

    def stream(self, request: LLMRequest) -> ReplyStream:
        """Chunks as they come. An error before the first content is raised as such; after it, `StreamInterrupted`."""
        call = StreamedCall(
            request,
            self._begin,
            self._engine.streams,
            self._book,
            self._accounts,
            self._short_ways.stream,
            self._observe.after,
            self._observe.each,
        )
        return ReplyStream(call)

    async def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = 8,
        progress: Callable[[Progress], object] | None = None,
    ) -> list[Outcome]:
        """Results in the order of the requests; a call that failed is its error, as a value."""
        return await run_batch(self.chat_completion, requests, at_once, progress)

    async def ask(self, prompt: str, **request: Any) -> str:
        """The text of the answer to one prompt: `await llm.ask("Why?", model="gpt-5", max_tokens=50)`."""
        asked = LLMRequest(messages=[{"role": "user", "content": prompt}], **request)
        return (await self.chat_completion(asked)).content

    async def embed(
        self,
        model: str | None,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        within: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Embedded:
        """A vector for each text, from any model that embeds: a provider's, a local one, or an agent.

        There is no fallback to another model: its vectors would mean something else.
        """
        self._check_open()
        request = EmbedRequest(texts=texts, model=model, dimensions=dimensions, within=within, extra=extra or {})
        target = await self._targets.embedder(model, within)
        time_left = self._terms.within(within, target.provider)
        return await self._embedding.run(request, target, time_left, self._terms.label)

    def local_models(self) -> tuple[str, ...]:
        """The names in the catalogue of this computer."""
        return tuple(self._local_names)

    def states(self) -> dict[str, str]:
        """Targets that are not well: open (failed too often) or half open (on trial)."""
        return self._guards.states()

    # What is known

    async def health(self, within: float = 2.0) -> dict[str, Health]:
        """Asks the provider, and those that fallback and routes name, side by side."""
        return await ask_all(await self._targets.providers(), self._human.endpoint, self._guards.states(), within)

    async def models(self, provider: str | None = None, within: float = 10.0) -> tuple[str, ...]:
        """The names of the models that a provider has."""
        name = self._accounts.profile(provider).name if provider else await self._provider.found()
        deadline = asyncio.get_running_loop().time() + within
        return await self._human.endpoint(name).models(deadline)

    def capabilities(self, model: str) -> Capabilities:
        return capabilities(model)

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        model = request.model or self._model or ""
        provider = self._provider.name
        profile = self._accounts.profile(provider) if provider else None
        return estimate_tokens(request, model, profile.multiplier(model) if profile else 1.0)

    def spent(self, **named: str) -> Spent:
        """What was used so far: of a `provider=`, `model=` or `label=`, or of all."""
        return self._book.ledger.spent(**named)

    def budgets(self) -> dict[str, Any]:
        """Each budget and the dollars it has left."""
        return dict(self._book.ledger.left())

    async def prepare(self, model: str) -> bool:
        """Loads a local model now, rather than at the first call; False for any other, where there is nothing to do."""
        return await self.local(model) is not None

    async def local(self, model: str) -> "LocalAnswers | None":
        """Loads a local model, and gives its answers without the policies of a connection: for whoever passes them on to callers
        who have policies of their own. None for any other model."""
        target = target_of(resolve(model, local_names=self._local_names))
        if target is None or target.provider != LOCAL:
            return None
        channel: Any = self._dispatcher.channel(CommunicationMode.AI_PC)
        await channel.load(target.model)
        from three_mode.channels.local_answers import LocalAnswers

        most = self._accounts.max_tokens(LOCAL)
        return LocalAnswers(channel, target.model, most, lambda within: self._terms.within(within, LOCAL))

    # Its life

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends what is in progress, closes connections, writes what is left to write. Twice does no harm."""
        if self._closed:
            return
        self._closed = True
        self._short_ways.close()
        self._engine.close()
        self._guards.close()
        self._provider.close()
        await self._human.close()
        await self._dispatcher.close()
        if self._pool is not None:
            await self._pool.aclose()
        if self._cache is not None:
            await self._cache.close()
        if self._book.recorder is not None:
            self._book.recorder.close()

    # Before a call

    async def _begin(self, request: LLMRequest) -> tuple[OneCall, Sequence[Target]]:
        self._check_open()
        began = time.monotonic()
        targets, route = await self._targets.of(request)
        first = targets[0]
        if first.provider == AGENT and route is None:
            self._short_ways.learn(request, first)
        profile = self._accounts.profile(first.provider)
        within = self._terms.within(request.within, first.provider)
        label = self._terms.label_of(request)
        policy = Call(
            deadline=began + within,
            began=began,
            caller=str(request.metadata.get("caller") or label or ""),
            tokens=estimate_tokens(request, first.model, profile.multiplier(first.model)),
            first_content=self._policies.fallback.first_content if len(targets) > 1 else None,
        )
        if route is not None:
            policy.step("routed", began, first, f"by the route {route!r}")
        one = OneCall(request, new_request_id(), policy, label=label, target=first)
        self._book.began(one, targets)
        return one, targets

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("this connection is closed", hint="make a new LLMConnection")

    def _agent_channel(self) -> OwnChannel:
        from three_mode.agents.calling.current_bus import bus_here
        from three_mode.channels.ai_ai import AgentChannel

        return AgentChannel(self._bus if self._bus is not None else bus_here())

    def _local_channel(self) -> OwnChannel:
        from three_mode.channels.ai_pc import LocalChannel

        return LocalChannel()

    def _shared_pool(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._options.transport)
        return self._pool


def _retrying(policies: Policies, max_retries: int | None, settings: Settings) -> Policies:
    """As often as the argument or the settings say, where one of them says it."""
    attempts = max_retries + 1 if max_retries is not None else settings.attempts
    if attempts is None:
        return policies
    if attempts < 1:
        raise ConfigurationError(f"max_retries is at least 0, not {max_retries}")
    return replace(policies, retry=replace(policies.retry, attempts=attempts))
