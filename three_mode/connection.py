"""One API for any model.

    async with LLMConnection(provider="openai", api_key=...) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}], model="gpt-5"))
        async for chunk in llm.stream(request): print(chunk.text, end="")

A call is prepared (its targets, time and label), attempted (calls/pipeline.py, with the policies around it) and
completed (its cost, ids and steps). Which provider, model and key, where it is not said here: see config/settings.py.
The policies: policies/.
"""

import asyncio
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct

from three_mode.calls.batch import Outcome, Progress, run_batch
from three_mode.calls.call_log import ActiveCall, CallLog, FailedFirstAttempt, new_request_id
from three_mode.calls.embedding import EmbeddingPipeline
from three_mode.calls.gates import Gates
from three_mode.calls.health import Health, check_health
from three_mode.calls.options import ConnectionOptions, Observing, apply_after, with_retries
from three_mode.calls.pipeline import Pipeline
from three_mode.calls.provider_accounts import CUSTOM, Account, ProviderAccounts, given_accounts
from three_mode.calls.request_prep import CallDefaults
from three_mode.calls.stream import ReplyStream, StreamedCall
from three_mode.calls.targets import ProviderChoice, Targets
from three_mode.channels.channel import RemoteChannel
from three_mode.channels.local.names import LocalNames
from three_mode.config import Sources
from three_mode.dispatcher import AGENT, LOCAL, Dispatcher, OwnChannel, target_of
from three_mode.errors import ConfigurationError
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse
from three_mode.modes import CommunicationMode, resolve
from three_mode.observe.metrics import Metrics
from three_mode.policies import CallContext, Policies, Prices, ResponseCache, Router, SpendingLedger, Spent, Target
from three_mode.policies.caches import cache_of
from three_mode.providers.capabilities import Capabilities, capabilities
from three_mode.providers.estimate import estimate_tokens

if TYPE_CHECKING:
    from three_mode.calls.agent_fast_path import AgentFastPath, AgentFastPaths, AgentFastStream
    from three_mode.channels.local.channel import LocalAnswers
    from three_mode.observe.records import RecordWriter
    from three_mode.observe.spans import CallTracer
    from transports.http2 import Pool

__all__ = ["Account", "ConnectionOptions", "Health", "LLMConnection", "Observing", "Progress", "ReplyStream"]


class Services(Struct, frozen=True, kw_only=True):
    """What all calls of one connection share."""

    policies: Policies
    observe: Observing
    accounts: ProviderAccounts
    provider: ProviderChoice
    local_names: LocalNames
    targets: Targets
    defaults: CallDefaults
    gates: Gates
    log: CallLog
    cache: ResponseCache | None
    remote: RemoteChannel
    dispatcher: Dispatcher
    pipeline: Pipeline
    embedding: EmbeddingPipeline


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
        """`bus` is a joined `transports.bus.Bus`, for `agent:NAME`; without one it is the bus that this event loop is
        on."""
        options, observe = options or ConnectionOptions(), observe or Observing()
        settings = Sources(options.config).settings()
        policies = with_retries(policies or Policies(), max_retries, settings.attempts)
        self._bus, self._model, self._options = bus, model, options
        self._pool: Pool | None = None
        self._closed = False
        # Fast paths to agents, by what requests say: a model's name (or the connection's) and a mode.
        self._fast_paths: dict[tuple[str | None, CommunicationMode | None], AgentFastPath] = {}
        self._fast_path_finder: AgentFastPaths | None = None

        if provider is None and base_url is not None:
            provider = CUSTOM
        named = provider or settings.provider
        own = Account(api_key=api_key, base_url=base_url, headers=options.headers)
        given = given_accounts(options.accounts, named, own)
        gates = Gates(policies, options.clock)
        accounts = ProviderAccounts(settings, given, options.safety, self._shared_pool, gates.limit_listener)
        remote = RemoteChannel(accounts.endpoint)
        choice = ProviderChoice(
            accounts.profile(named).name if named is not None else None,
            options.detection_order or settings.detection_order,
            accounts,
            remote.endpoint,
        )
        self.metrics = Metrics()
        prices = options.prices
        if prices is None:
            prices = Prices()
            prices.prepare()
        router, local_names = Router(policies.routes, prices, self.metrics.latency), LocalNames()
        mode = CommunicationMode(mode) if mode is not None else settings.mode
        targets = Targets(choice, model, mode, settings, accounts, policies, router, local_names)
        targets.check_safety()
        log = CallLog(
            prices,
            SpendingLedger(policies.budgets),
            self.metrics,
            _record_writer(observe),
            _call_tracer(observe),
            observe.log_content,
        )
        cache = cache_of(policies.cache, options.clock) if policies.cache is not None else None
        dispatcher = Dispatcher(remote, self._agent_channel, self._local_channel)
        self._services = Services(
            policies=policies,
            observe=observe,
            accounts=accounts,
            provider=choice,
            local_names=local_names,
            targets=targets,
            defaults=CallDefaults(accounts, settings, timeout, observe.label),
            gates=gates,
            log=log,
            cache=cache,
            remote=remote,
            dispatcher=dispatcher,
            pipeline=Pipeline(dispatcher, accounts, policies, gates, log, cache, options.clock),
            embedding=EmbeddingPipeline(dispatcher, accounts, policies.retry, gates, log, options.clock),
        )

    def __repr__(self) -> str:
        return f"<LLMConnection to {self._services.provider.name or 'the first available provider'}>"

    # Calls

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        """The whole reply. Raises one of `three_mode.errors`; see there."""
        # A plain function: a coroutine that only passes on would be one more for every call. `fast` is the way to an
        # agent that was asked before, where no policy has a say: calls/agent_fast_path.py.
        fast = self._fast_paths.get((request.model or self._model, request.mode))
        return self._complete(request) if fast is None else fast.complete(request, self._complete)

    async def _complete(self, request: LLMRequest, failed: FailedFirstAttempt | None = None) -> LLMResponse:
        """The normal way of every call. `failed` is how a first attempt ended, where one was made already."""
        services = self._services
        call, targets = await self._prepare(request, failed)
        try:
            answer, usage = await services.pipeline.answer(call, targets)
            reply = services.log.complete_reply(call, answer, usage)
            if services.observe.after is not None:
                reply = await apply_after(services.observe.after, reply)
        except BaseException as error:
            services.log.fail_call(call, error)
            raise
        services.log.finish_call(call, reply)
        return reply

    def stream(self, request: LLMRequest) -> ReplyStream:
        """Chunks as they come. An error before the first content is raised as such; after it, `StreamInterrupted`."""
        services = self._services
        call = StreamedCall(
            request,
            self._prepare,
            self._fast_stream,
            services.pipeline.streams,
            services.log,
            services.accounts,
            services.observe,
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
        services = self._services
        request = EmbedRequest(texts=texts, model=model, dimensions=dimensions, within=within, extra=extra or {})
        target = await services.targets.for_embedding(model, within)
        time_left = services.defaults.time_limit(within, target.provider)
        return await services.embedding.embed(request, target, time_left, services.defaults.label)

    # What is known

    def local_models(self) -> tuple[str, ...]:
        """The names in the catalogue of this computer."""
        return tuple(self._services.local_names)

    def breaker_states(self) -> dict[str, str]:
        """Targets that are not well: open (failed too often) or half-open (on trial)."""
        return self._services.gates.states()

    async def health(self, within: float = 2.0) -> dict[str, Health]:
        """Asks the provider, and those that fallback and routes name, side by side."""
        services = self._services
        names = await services.targets.providers()
        return await check_health(names, services.remote.endpoint, services.gates.states(), within)

    async def models(self, provider: str | None = None, within: float = 10.0) -> tuple[str, ...]:
        """The names of the models that a provider has."""
        services = self._services
        name = services.accounts.profile(provider).name if provider else await services.provider.found()
        deadline = asyncio.get_running_loop().time() + within
        return await services.remote.endpoint(name).models(deadline)

    def capabilities(self, model: str) -> Capabilities:
        """What a model can do, as far as the table of models knows it."""
        return capabilities(model)

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        model = request.model or self._model or ""
        provider = self._services.provider.name
        profile = self._services.accounts.profile(provider) if provider else None
        return estimate_tokens(request, model, profile.multiplier(model) if profile else 1.0)

    def spent(self, **named: str) -> Spent:
        """What was used so far: of a `provider=`, `model=` or `label=`, or of all."""
        return self._services.log.ledger.spent(**named)

    def budgets(self) -> dict[str, Any]:
        """Each budget and the dollars it has left."""
        return dict(self._services.log.ledger.left())

    async def prepare(self, model: str) -> bool:
        """Loads a local model now, rather than at the first call; False for any other, where there is nothing to do."""
        return await self.local_model(model) is not None

    async def local_model(self, model: str) -> "LocalAnswers | None":
        """Loads a local model, and gives its answers without the policies of a connection: for callers who pass them on
        to others that have policies of their own. None for any other model."""
        services = self._services
        target = target_of(resolve(model, local_names=services.local_names))
        if target is None or target.provider != LOCAL:
            return None
        channel: Any = services.dispatcher.channel(CommunicationMode.AI_PC)
        await channel.load(target.model)
        from three_mode.channels.local.channel import LocalAnswers

        most = services.accounts.max_tokens(LOCAL)
        return LocalAnswers(channel, target.model, most, lambda within: services.defaults.time_limit(within, LOCAL))

    # Names of before, which go with the first release

    def states(self) -> dict[str, str]:
        """`breaker_states`."""
        warnings.warn("LLMConnection.states is now breaker_states", DeprecationWarning, stacklevel=2)
        return self.breaker_states()

    async def local(self, model: str) -> "LocalAnswers | None":
        """`local_model`."""
        warnings.warn("LLMConnection.local is now local_model", DeprecationWarning, stacklevel=2)
        return await self.local_model(model)

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
        services = self._services
        for fast in self._fast_paths.values():
            fast.close()
        self._fast_paths.clear()
        services.pipeline.close()
        services.gates.close()
        services.provider.close()
        await services.remote.close()
        await services.dispatcher.close()
        if self._pool is not None:
            await self._pool.aclose()
        if services.cache is not None:
            await services.cache.close()
        if services.log.recorder is not None:
            services.log.recorder.close()

    # Before a call

    async def _prepare(
        self, request: LLMRequest, failed: FailedFirstAttempt | None = None
    ) -> tuple[ActiveCall, Sequence[Target]]:
        """The call of a request, and the targets that may answer it."""
        self._check_open()
        services, began = self._services, time.monotonic()
        targets, route = await services.targets.for_request(request)
        first = targets[0]
        if first.provider == AGENT and route is None and not self._closed:
            self._learn_fast_path(request, first)
        profile = services.accounts.profile(first.provider)
        within = services.defaults.time_limit(request.within, first.provider)
        label = services.defaults.label_of(request)
        context = CallContext(
            deadline=began + within,
            began=began,
            caller=str(request.metadata.get("caller") or label or ""),
            tokens=estimate_tokens(request, first.model, profile.multiplier(first.model)),
            first_content=services.policies.fallback.first_content if len(targets) > 1 else None,
        )
        if route is not None:
            context.add_step("routed", began, first, f"by the route {route!r}")
        call = ActiveCall(request, new_request_id(), context, label=label, target=first)
        services.log.begin_call(call, targets)
        if failed is not None:
            context.began, context.deadline, call.failed = failed
        return call, targets

    def _learn_fast_path(self, request: LLMRequest, target: Target) -> None:
        """Note where such a request goes: the next one may go there at once."""
        if self._fast_path_finder is None:
            from three_mode.calls.agent_fast_path import AgentFastPaths

            services = self._services
            channel: Any = services.dispatcher.channel(CommunicationMode.AI_AI)
            self._fast_path_finder = AgentFastPaths(
                self._fast_paths,
                self._model,
                channel,
                services.accounts,
                services.gates,
                services.log,
                services.defaults,
                services.policies,
                services.observe,
            )
        self._fast_path_finder.learn(request, target)

    def _fast_stream(self, request: LLMRequest) -> "AgentFastStream | None":
        """The fast path of a stream, where it has one just now."""
        fast = self._fast_paths.get((request.model or self._model, request.mode))
        return None if fast is None else fast.try_stream(request)

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigurationError("this connection is closed", hint="make a new LLMConnection")

    # Channels and connections, made when first used

    def _agent_channel(self) -> OwnChannel:
        from three_mode.agents.calling.current_bus import bus_here
        from three_mode.channels.agents import AgentChannel

        return AgentChannel(self._bus if self._bus is not None else bus_here())

    def _local_channel(self) -> OwnChannel:
        from three_mode.channels.local.channel import LocalChannel

        return LocalChannel()

    def _shared_pool(self) -> "Pool":
        if self._pool is None:
            from transports.http2 import Pool

            self._pool = Pool(self._options.transport)
        return self._pool


# Parts that few connections have are imported by those.


def _record_writer(observe: Observing) -> "RecordWriter | None":
    if observe.records is None:
        return None
    from three_mode.observe.records import RecordWriter

    return RecordWriter(observe.records)


def _call_tracer(observe: Observing) -> "CallTracer | None":
    if not observe.spans:
        return None
    from three_mode.observe.spans import CallTracer

    return CallTracer(observe.tracer)
