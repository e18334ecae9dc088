"""One API for any model.

    async with LLMConnection(provider="openai", api_key=...) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}], model="gpt-5"))
        async for chunk in llm.stream(request): print(chunk.text, end="")

Which provider, model and key, where it is not said here: see config/settings.py. What happens around a call: policies/.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from three_mode.calls.accounts import CUSTOM, Account, Accounts
from three_mode.calls.batch import Outcome, Progress, run_batch
from three_mode.calls.book import Book, OneCall, new_request_id
from three_mode.calls.detection import first_available
from three_mode.calls.embedding import Embedding
from three_mode.calls.engine import Engine
from three_mode.calls.guards import Guarding
from three_mode.calls.health import Health, ask
from three_mode.calls.hooks import EachHook, Hook, hooked
from three_mode.calls.short_ways import FirstTry, short_ways
from three_mode.calls.stream import ReplyStream
from three_mode.calls.streamed import StreamedCall
from three_mode.channels.human_ai import HumanAI
from three_mode.channels.local_names import LocalNames
from three_mode.config import Sources
from three_mode.dispatcher import AGENT, HERE, LOCAL, Dispatcher, OwnChannel, target_of, unnamed
from three_mode.errors import ConfigurationError, InvalidRequest, UnsupportedParameter
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse
from three_mode.modes import CommunicationMode, resolve
from three_mode.observe.metrics import Metrics
from three_mode.observe.records import Recorder, RecordOptions
from three_mode.observe.spans import Tracer
from three_mode.policies import (
    Call,
    Ledger,
    MemoryCache,
    Policies,
    PriceList,
    Prices,
    ResponseCache,
    Route,
    Router,
    Spent,
    Target,
)
from three_mode.policies.clock import MONOTONIC, Clock
from three_mode.providers.capabilities import Capabilities, capabilities
from three_mode.providers.estimate import estimate_tokens
from three_mode.providers.safety import check_provider
from transports.http2 import Pool, PoolOptions

if TYPE_CHECKING:
    from three_mode.calls.stream_to_agent import StreamToAgent
    from three_mode.calls.to_agent import ToAgent
    from three_mode.channels.local_answers import LocalAnswers

__all__ = ["Account", "ConnectionOptions", "Health", "LLMConnection", "Observing", "Progress", "ReplyStream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observing:
    """What is told of calls, and what may be changed in replies. `label` names who pays, where a request's metadata does not.

    `after` gets each reply when it is whole, and gives the one that the caller sees: of a stream that is `response()`, because the
    pieces have gone out by then. `each` gets every piece of a stream (text, thinking, a tool call's) before its reader does, and
    gives the one to pass on, or None for nothing. The cache keeps what the provider said, so that both run on what comes out of it too.
    """

    records: RecordOptions | None = None
    spans: bool = False
    tracer: Any = None
    log_content: bool = False
    label: str | None = None
    after: Hook | None = None
    each: EachHook | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """What is rarely set. `accounts` holds keys and addresses of other providers, for fallback and routes. `safety` is for all
    providers that are called: one that has no such settings is an error (`Account(safety=...)` is for one of them)."""

    accounts: Mapping[str, Account] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    safety: Mapping[str, str] = field(default_factory=dict)
    config: str | Path | Mapping[str, Any] | None = None
    detection_order: tuple[str, ...] | None = None
    transport: PoolOptions = field(default_factory=PoolOptions)
    prices: PriceList | None = None
    clock: Clock = MONOTONIC


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
        self._observe = observe or Observing()
        self._settings = Sources(options.config).settings()
        policies = policies or Policies()
        attempts = max_retries + 1 if max_retries is not None else self._settings.attempts
        if attempts is not None:
            if attempts < 1:
                raise ConfigurationError(f"max_retries is at least 0, not {max_retries}")
            policies = replace(policies, retry=replace(policies.retry, attempts=attempts))
        self._policies = policies
        self._mode = CommunicationMode(mode) if mode is not None else self._settings.mode
        self._timeout = timeout
        self._model = model
        self._clock = options.clock
        self._pool: Pool | None = None
        self._closed = False
        self._guards = Guarding(policies, self._clock)
        if provider is None and base_url is not None:
            provider = CUSTOM
        accounts = dict(options.accounts)
        named = provider or self._settings.provider
        if named is not None and (api_key or base_url or options.headers):
            accounts[named] = Account(api_key=api_key, base_url=base_url, headers=options.headers)
        elif api_key:
            raise ConfigurationError("api_key= without provider= or base_url=", hint="say whose key it is")
        self._accounts = Accounts(
            self._settings, accounts, options.safety, self._shared_pool, self._guards.learn
        )
        self._provider = self._accounts.profile(named).name if named is not None else None
        self._detecting: asyncio.Task[str] | None = None
        self._human = HumanAI(self._accounts.endpoint)
        self._local_names = LocalNames()
        # A target, with those that answer when it does not.
        self._chains: dict[tuple[str, str], tuple[Target, ...]] = {}
        # Addresses of agents to which calls go without a word of the policies.
        self._to_agents: dict[tuple[str, CommunicationMode | None], ToAgent] = {}
        self._guards.held_by(self._to_agents.clear)
        self._dispatcher = Dispatcher(self._human, self._agent_channel, self._local_channel)
        self.metrics = Metrics()
        prices = options.prices
        if prices is None:
            prices = Prices()
            prices.prepare()
        self._book = Book(
            prices, Ledger(policies.budgets), self.metrics,
            Recorder(self._observe.records) if self._observe.records is not None else None,
            Tracer(self._observe.tracer) if self._observe.spans else None,
            self._observe.log_content,
        )  # fmt: skip
        self._check_safety()
        self._router = Router(policies.routes, prices, self.metrics.latency)
        self._cache = _cache(policies, self._clock)
        self._engine = Engine(
            self._dispatcher, self._accounts, policies, self._guards, self._book, self._cache, self._clock
        )
        self._short_ways = short_ways(policies, self._accounts, self._book) and self._observe.after is None
        self._embedding = Embedding(
            self._dispatcher, self._accounts, policies.retry, self._guards, self._book, self._clock
        )

    def __repr__(self) -> str:
        return f"<LLMConnection to {self._provider or 'the first available provider'}>"

    # Calls

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The whole reply. Raises one of `three_mode.errors`; see there."""
        name = request.model or self._model
        to_agent = self._to_agents.get((name, request.mode)) if name is not None else None
        if to_agent is None or self._closed or not to_agent.enter():
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
        after, each = self._observe.after, self._observe.each
        return ReplyStream(
            StreamedCall(
                request,
                self._begin,
                self._engine,
                self._book,
                self._accounts,
                self._short_stream,
                after,
                each,
            )
        )

    def _short_stream(self, request: LLMRequest) -> "StreamToAgent | None":
        """The short way of a stream, if it has one just now."""
        name = request.model or self._model
        to_agent = self._to_agents.get((name, request.mode)) if name is not None else None
        if to_agent is None or self._closed:
            return None
        within = self._time_of(request.within, AGENT)
        if not to_agent.enter():
            return None
        from three_mode.calls.stream_to_agent import StreamToAgent

        channel: Any = self._dispatcher.channel(CommunicationMode.AI_AI)
        return StreamToAgent(request, to_agent.target, within, self._label(request), channel, self._guards)

    def _label(self, request: LLMRequest) -> str | None:
        label = self._observe.label
        if request.metadata:
            label = request.metadata.get("label", label)
        return None if label is None else str(label)

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
        request = EmbedRequest(
            texts=texts, model=model, dimensions=dimensions, within=within, extra=extra or {}
        )
        target = await self._embedder(model)
        return await self._embedding.run(
            request, target, self._time_of(within, target.provider), self._observe.label
        )

    async def _embedder(self, model: str | None) -> Target:
        name = model or self._model
        target = self._addressed(name, self._mode) if name is not None else None
        if target is not None:
            return target
        provider = await self._named_provider()
        if name is None:
            raise InvalidRequest("embed names no model", field="model", provider=provider)
        return Target(provider, name)

    def local_models(self) -> tuple[str, ...]:
        """The names in the catalogue of this computer."""
        return tuple(self._local_names)

    def states(self) -> dict[str, str]:
        """Targets that are not well: open (failed too often) or half open (on trial)."""
        return self._guards.states()

    # What is known

    async def health(self, within: float = 2.0) -> dict[str, Health]:
        """Asks the provider, and those that fallback and routes name, side by side."""
        names = {await self._named_provider()} | {target.provider for target in self._all_targets()}
        states = self._guards.states()
        found = await asyncio.gather(*(self._health_of(name, states, within) for name in sorted(names)))
        return {each.provider: each for each in found}

    async def _health_of(self, name: str, states: dict[str, str], within: float) -> Health:
        try:
            endpoint = self._human.endpoint(name)
        except ConfigurationError as error:
            return Health(provider=name, ok=False, latency=0.0, error=str(error))
        return await ask(endpoint, states, within)

    async def models(self, provider: str | None = None, within: float = 10.0) -> tuple[str, ...]:
        """The names of the models that a provider has."""
        name = self._accounts.profile(provider).name if provider else await self._named_provider()
        deadline = asyncio.get_running_loop().time() + within
        return await self._human.endpoint(name).models(deadline)

    def capabilities(self, model: str) -> Capabilities:
        return capabilities(model)

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        model = request.model or self._model or ""
        profile = self._accounts.profile(self._provider) if self._provider else None
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
        return LocalAnswers(channel, target.model, most, lambda within: self._time_of(within, LOCAL))

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
        self._engine.close()
        self._guards.close()
        if self._detecting is not None and not self._detecting.done():
            self._detecting.cancel()
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
        targets, routed = await self._targets(request)
        first = targets[0]
        profile = self._accounts.profile(first.provider)
        within = self._time_of(request.within, first.provider)
        label = self._label(request)
        policy = Call(
            deadline=began + within,
            began=began,
            caller=str(request.metadata.get("caller") or label or ""),
            tokens=estimate_tokens(request, first.model, profile.multiplier(first.model)),
            first_content=self._policies.fallback.first_content if len(targets) > 1 else None,
        )
        if routed:
            policy.step("routed", began, first, f"by the route {routed!r}")
        one = OneCall(request, new_request_id(), policy, label=label, target=first)
        self._book.began(one, targets)
        return one, targets

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("this connection is closed", hint="make a new LLMConnection")

    def _time_of(self, asked: float | None, provider: str) -> float:
        """Seconds of a call; inside an agent's handler no more than what remains of its call."""
        return time_for(asked or self._usual_time(provider), handled.get())

    def _usual_time(self, provider: str) -> float:
        return self._timeout or self._accounts.settings(provider).timeout or self._settings.timeout

    async def _targets(self, request: LLMRequest) -> tuple[Sequence[Target], str | None]:
        """Who may answer, in order; and the route that said so."""
        name = request.model or self._model or self._settings.model
        mode = request.mode if request.mode is not None else self._mode
        if name is not None:
            if self._router.knows(name):
                return self._router.order(name, request), name
            target = self._addressed(name, mode)
            if target is not None:
                if (
                    target.provider == AGENT
                    and self._short_ways
                    and (name, request.mode) not in self._to_agents
                ):
                    self._learn_way(name, request.mode, target)
                return (self._with_fallback(target) if target.provider in HERE else [target]), None
        elif mode not in (CommunicationMode.AUTO, CommunicationMode.HUMAN_AI):
            raise unnamed(mode)
        provider = await self._named_provider()
        model = request.model or self._model or self._accounts.model(provider) or self._settings.model
        if model is None:
            raise InvalidRequest(
                "the request names no model",
                field="model",
                provider=provider,
                hint=f"set model=, a default model on the connection, or {self._accounts.profile(provider).env_name}_MODEL",
            )
        return self._chains.get((provider, model)) or self._with_fallback(Target(provider, model)), None

    def _learn_way(self, name: str, mode: CommunicationMode | None, target: Target) -> None:
        """From the second call on, this address is known."""
        if len(self._to_agents) > 1000:
            self._to_agents.clear()
        from three_mode.calls.to_agent import ToAgent

        channel: Any = self._dispatcher.channel(CommunicationMode.AI_AI)
        self._to_agents[name, mode] = ToAgent(
            target,
            channel,
            self._guards,
            self._accounts,
            self._book,
            self._observe.label,
            self._usual_time(AGENT),
        )

    def _addressed(self, name: str, mode: CommunicationMode) -> Target | None:
        """The target that a name says by itself; None for the model of a provider that is still to be found."""
        target = target_of(resolve(name, mode, self._local_names))
        if target is None and "://" in name:
            url, _, named = name.partition("#")
            return Target(url, named or "default")
        return target

    def _with_fallback(self, first: Target) -> Sequence[Target]:
        key = (first.provider, first.model)
        found = self._chains.get(key)
        if found is None:
            if len(self._chains) > 1000:
                self._chains.clear()
            more = self._policies.fallback.targets
            found = self._chains[key] = (first, *(target for target in more if target != first))
        return found

    async def _named_provider(self) -> str:
        if self._provider is not None:
            return self._provider
        if self._detecting is None or (self._detecting.done() and self._detecting.cancelled()):
            order = self._options.detection_order or self._settings.detection_order
            self._detecting = asyncio.ensure_future(
                first_available(order, self._accounts, self._human.endpoint)
            )
        try:
            self._provider = await asyncio.shield(self._detecting)
        except ConfigurationError:
            self._detecting = None
            raise
        return self._provider

    def _check_safety(self) -> None:
        """Of the providers that are known by now; one that is found later is checked at its first call."""
        names = {target.provider for target in self._all_targets()}
        names |= {name for name, account in self._options.accounts.items() if account.safety}
        if self._provider is not None:
            names.add(self._provider)
        for name in names:
            try:
                check_provider(self._accounts.profile(name))
            except UnsupportedParameter as error:
                raise ConfigurationError(error.message, hint=error.hint) from None

    def _all_targets(self) -> list[Target]:
        routes: tuple[Route, ...] = self._policies.routes
        return [*self._policies.fallback.targets, *(target for route in routes for target in route.targets)]

    def _agent_channel(self) -> OwnChannel:
        from three_mode.agents.here import bus_here
        from three_mode.channels.ai_ai import AgentChannel

        return AgentChannel(self._bus if self._bus is not None else bus_here())

    def _local_channel(self) -> OwnChannel:
        from three_mode.channels.ai_pc import LocalChannel

        return LocalChannel()

    def _shared_pool(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self._options.transport)
        return self._pool


def _cache(policies: Policies, clock: Clock) -> ResponseCache | None:
    if policies.cache is None:
        return None
    if policies.cache.path is None:
        return MemoryCache(policies.cache, clock)
    from three_mode.policies.cache_file import FileCache

    return FileCache(policies.cache)
