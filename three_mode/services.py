"""Services of a connection: what all its calls share, put together when it is made.

connection.py imports this with its first connection: a program that only runs agents need not load what calls to models
go through.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from three_mode.calls.call_log import CallLog
from three_mode.calls.embedding import EmbeddingPipeline
from three_mode.calls.gates import Gates
from three_mode.calls.options import ConnectionOptions, Observing, apply_after, with_retries
from three_mode.calls.pipeline import Pipeline
from three_mode.calls.provider_accounts import CUSTOM, Account, ProviderAccounts, given_accounts, name_of, no_grpc
from three_mode.calls.request_prep import CallDefaults, CallPreparation
from three_mode.calls.stream import ReplyStream, StreamedCall
from three_mode.calls.targets import ProviderChoice, Targets
from three_mode.channels.channel import RemoteChannel
from three_mode.channels.local.names import LocalNames
from three_mode.channels.local.settings import LocalSettings
from three_mode.config import Sources
from three_mode.dispatcher import HERE, LOCAL, Dispatcher, OwnChannel
from three_mode.messages import LLMRequest, LLMResponse, Message
from three_mode.modes import CommunicationMode
from three_mode.observe.metrics import Metrics
from three_mode.policies import Absences, Policies, Prices, ResponseCache, Router, SpendingLedger, Target
from three_mode.policies.breaker import State
from three_mode.policies.caches import cache_of
from three_mode.providers.catalogue import providers

if TYPE_CHECKING:
    from three_mode.calls.agent_fast_stream import AgentFastStream
    from three_mode.calls.batches.jobs import BatchJobs
    from three_mode.calls.figures import ConnectionFigures
    from three_mode.calls.provider_status import ProviderStatus
    from three_mode.observe.records import RecordWriter
    from three_mode.observe.run_spans import RunTracer
    from three_mode.observe.spans import CallTracer
    from three_mode.tools.outcome import ToolOutcome
    from transports.http2 import Pool


class Arguments(Struct, frozen=True, kw_only=True):
    """What a connection was made with; see `LLMConnection`."""

    own: Account
    """Key and address of its own provider, from the arguments themselves."""
    provider: str | None
    model: str | None
    mode: CommunicationMode | str | None
    timeout: float | None
    max_retries: int | None
    policies: Policies | None
    observe: Observing
    options: ConnectionOptions
    bus: Any
    use_grpc: bool | str = False


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
    pool: "SharedPool"
    remote: RemoteChannel
    dispatcher: Dispatcher
    preparation: CallPreparation
    pipeline: Pipeline
    embedding: EmbeddingPipeline
    batches: "OwnBatches"
    run_tracer: "RunTracer | None"

    def stream(self, request: LLMRequest, fast: "Callable[[LLMRequest], AgentFastStream | None]") -> ReplyStream:
        """A streamed call, which begins when it is first read. `fast` gives its fast path to an agent, where it has
        one."""
        call = StreamedCall(
            request, self.preparation.prepare, fast, self.pipeline.streams, self.log, self.accounts, self.observe
        )
        return ReplyStream(call)

    def tell_outcome(self, request: LLMRequest, reply: LLMResponse | None, outcome: "ToolOutcome") -> None:
        """Tell who listens that a tool call of a run is over; `reply` is the one that called the tool."""
        if self.log.events is not None:
            self.log.events.tool_returned(request, self.defaults.label_of(request), reply, outcome)

    async def hooked(self, reply: LLMResponse) -> LLMResponse:
        """The reply that the program's hook makes of a whole one."""
        return await apply_after(self.observe.after, reply)

    def provider_statuses(self) -> "dict[str, ProviderStatus]":
        """The status of each provider that is known, configured or was called; see `LLMConnection.providers`."""
        from three_mode.calls.provider_status import provider_statuses

        used = self.log.book.tallies.report(("provider", "model"))
        names = sorted({*providers(), *self.targets.named_providers, LOCAL, *used.by_provider.rows})
        models = self.targets.default_models()
        return provider_statuses(names, self.accounts, models, self.gates.states(), used)

    async def figures(self) -> "ConnectionFigures":
        """What a page shows of this connection; see `LLMConnection.figures`."""
        from three_mode.calls.figures import figures_of

        local: Any = self.dispatcher.made(CommunicationMode.AI_PC)
        models = [] if local is None else await local.statistics()
        return figures_of(self.log.ledger, self.log.book.tallies.report("model"), self.gates, models)

    async def check_model(self, model: str) -> None:
        """Raise the error that a call to a model would end with: no such provider, no key, no usable address."""
        self.preparation.check_open()
        messages = (Message("user", "..."),)
        targets, _ = await self.targets.for_request(LLMRequest(model=model, messages=messages))
        if targets[0].provider not in HERE:
            self.remote.endpoint(targets[0].provider)

    async def close(self) -> None:
        """End what is in progress, close connections, and write what is left to write."""
        self.pipeline.close()
        self.embedding.close()
        self.batches.close()
        self.gates.close()
        self.provider.close()
        await self.remote.close()
        await self.dispatcher.close()
        await self.pool.close()
        if self.cache is not None:
            await self.cache.close()
        if self.log.recorder is not None:
            self.log.recorder.close()
        self.log.close_events()


class OwnBatches:
    """The batch jobs of a connection, which few connections have: made when one is first submitted or asked for."""

    def __init__(self, make: "Callable[[], BatchJobs]") -> None:
        self._make = make
        self._made: BatchJobs | None = None

    def get(self) -> "BatchJobs":
        """The jobs; the first time, new ones."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def close(self) -> None:
        """End their waits, if there are any."""
        if self._made is not None:
            self._made.close()


class SharedPool:
    """The HTTP connections of all providers, made when a provider is first called."""

    def __init__(self, options: ConnectionOptions) -> None:
        self._options = options
        self._pool: Pool | None = None

    def get(self) -> "Pool":
        """The pool; the first time, a new one."""
        if self._pool is None:
            from transports.http2 import Pool

            self._pool = Pool(self._options.transport)
        return self._pool

    async def close(self) -> None:
        """Close it, if there is one."""
        if self._pool is not None:
            await self._pool.aclose()


def services_of(given: Arguments, learn: Callable[[LLMRequest, Target], None]) -> Services:
    """The services of a new connection. `learn` hears of each call to an agent that goes the normal way."""
    options, observe = given.options, given.observe
    settings = Sources(options.config).settings()
    config = settings.sources.table
    policies = config.options(Policies, "policies") if given.policies is None else given.policies
    policies = with_retries(policies, given.max_retries, settings.attempts)
    local = LocalSettings.of(options, config)
    provider = CUSTOM if given.provider is None and given.own.base_url is not None else given.provider
    named = provider or settings.provider
    metrics, pool = Metrics(), SharedPool(options)

    def provider_changed(target: Target, was: State, state: State) -> None:
        if log.events is not None:
            log.events.provider_changed(target, was, state)

    gates = Gates(policies, options.clock, metrics, provider_changed)
    known = given_accounts(options.accounts, named, given.own)
    listed = frozenset(map(name_of, options.accounts))
    accounts = ProviderAccounts(
        settings,
        known,
        options.safety,
        pool.get,
        gates.limit_listener,
        options.defaults,
        options.reply_bytes,
        listed,
        options.grpc,
    )
    if given.use_grpc and named is not None and accounts.grpc_url(named) is None:
        raise no_grpc(named)
    remote = RemoteChannel(accounts.endpoint)
    choice = ProviderChoice(
        accounts.profile(named).name if named is not None else None,
        options.detection_order or settings.detection_order,
        accounts,
        remote.endpoint,
    )
    prices = options.prices
    if prices is None:
        prices = Prices()
        prices.prepare()
    router, local_names = Router(policies.routes, prices, metrics.latency), LocalNames(local.files)
    mode = CommunicationMode(given.mode) if given.mode is not None else settings.mode
    targets = Targets(
        choice, given.model, mode, settings, accounts, policies, router, local_names, bool(given.use_grpc)
    )
    absences = Absences(options.grpc.remember, options.clock)
    targets.check_safety()
    ledger = SpendingLedger(policies.budgets)
    tracer = _call_tracer(observe, accounts)
    log = CallLog(prices, ledger, metrics, _record_writer(observe), tracer, observe.log_content)
    if observe.step is not None:
        log.watch_steps(observe.step)
    if observe.events is not None:
        log.hub.listen(observe.events)
    cache = cache_of(policies.cache, options.clock) if policies.cache is not None else None
    dispatcher = Dispatcher(remote, lambda: _agent_channel(given.bus, options.reply_bytes), local.channel)
    defaults = CallDefaults(accounts, settings, given.timeout, observe.label)
    return Services(
        policies=policies,
        observe=observe,
        accounts=accounts,
        provider=choice,
        local_names=local_names,
        targets=targets,
        defaults=defaults,
        gates=gates,
        log=log,
        cache=cache,
        pool=pool,
        remote=remote,
        dispatcher=dispatcher,
        preparation=CallPreparation(targets, accounts, defaults, policies.fallback.first_content, log, learn, absences),
        pipeline=Pipeline(
            dispatcher, accounts, policies, gates, log, cache, options.clock, lambda: _bus_name(dispatcher), absences
        ),
        embedding=EmbeddingPipeline(
            dispatcher,
            accounts,
            policies.retry,
            gates,
            log,
            options.clock,
            Absences(options.grpc.remember, options.clock),
        ),
        batches=OwnBatches(lambda: _batch_jobs(targets, accounts, defaults, log, policies, observe, remote)),
        run_tracer=_run_tracer(tracer),
    )


# Parts that few connections have are imported by those.


def _agent_channel(bus: Any, reply_bytes: int) -> OwnChannel:
    from three_mode.agents.calling.current_bus import bus_here
    from three_mode.channels.agents import AgentChannel

    return AgentChannel(bus if bus is not None else bus_here(), reply_bytes)


def _batch_jobs(
    targets: Targets,
    accounts: ProviderAccounts,
    defaults: CallDefaults,
    log: CallLog,
    policies: Policies,
    observe: Observing,
    remote: RemoteChannel,
) -> "BatchJobs":
    from three_mode.calls.batches.jobs import BatchJobs

    hook = partial(apply_after, observe.after)
    return BatchJobs(targets, accounts, defaults, log, policies.retry, remote.endpoint, hook)


def _bus_name(dispatcher: Dispatcher) -> str:
    channel: Any = dispatcher.channel(CommunicationMode.AI_AI)
    name: str = channel.bus_name
    return name


def _record_writer(observe: Observing) -> "RecordWriter | None":
    if observe.records is None:
        return None
    from three_mode.observe.records import RecordWriter

    return RecordWriter(observe.records)


def _call_tracer(observe: Observing, accounts: ProviderAccounts) -> "CallTracer | None":
    if not (observe.spans or observe.metrics):
        return None
    from three_mode.observe.instruments import Instruments
    from three_mode.observe.spans import CallTracer

    return CallTracer(
        observe.tracer,
        spans=observe.spans,
        instruments=Instruments(observe.meter) if observe.metrics else None,
        content=observe.span_content,
        address=lambda provider: None if provider in HERE else accounts.base_url(provider),
    )


def _run_tracer(tracer: "CallTracer | None") -> "RunTracer | None":
    if tracer is None:
        return None
    from three_mode.observe.run_spans import RunTracer

    return RunTracer(tracer)
