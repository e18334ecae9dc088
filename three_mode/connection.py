"""One API for any model.

    async with LLMConnection(provider="openai", api_key=...) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": "Hello!"}], model="gpt-5"))
        async for chunk in llm.stream(request): print(chunk.text, end="")

A call is prepared (its targets, time and label), attempted (calls/pipeline.py, with the policies around it) and
completed (its cost, ids and steps). Which provider, model and key, where it is not said here: see config/settings.py.
The policies: policies/.
"""

import asyncio
import warnings
from collections.abc import Callable, Coroutine, Iterable, Sequence
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from three_mode.errors import InvalidRequest
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest, Step
from three_mode.messages.checks import no_request
from three_mode.modes import CommunicationMode, names_files, resolve

if TYPE_CHECKING:
    from decimal import Decimal
    from pathlib import Path

    from three_mode.calls.agent_fast_path import AgentFastPath, AgentFastPaths
    from three_mode.calls.agent_fast_stream import AgentFastStream
    from three_mode.calls.batch import Outcome
    from three_mode.calls.batch import Progress as Progress
    from three_mode.calls.batches import BatchJob as BatchJob
    from three_mode.calls.batches import BatchStatus as BatchStatus
    from three_mode.calls.call_log import FailedFirstAttempt
    from three_mode.calls.fast_path_terms import OnDone, TasklessCall
    from three_mode.calls.figures import ConnectionFigures as ConnectionFigures
    from three_mode.calls.health import Health as Health
    from three_mode.calls.options import ConnectionOptions as ConnectionOptions
    from three_mode.calls.options import Observing as Observing
    from three_mode.calls.provider_accounts import Account as Account
    from three_mode.calls.provider_fast_path import ProviderFastPaths
    from three_mode.calls.provider_status import ProviderStatus as ProviderStatus
    from three_mode.calls.stream import ReplyStream as ReplyStream
    from three_mode.channels.grpc_options import GRPCOptions as GRPCOptions
    from three_mode.channels.local.channel import LocalAnswers
    from three_mode.events.hub import ConnectionHub
    from three_mode.events.reader import EventReader
    from three_mode.observe import Dimension, Report
    from three_mode.policies import Policies, Spent, Target
    from three_mode.providers.capabilities import Capabilities
    from three_mode.tools.events import RunReply
    from three_mode.tools.run import AnyTools, AskedModel, RunStream

# Public name -> the module it lives in. Each is imported when it is first used, and so is what a connection is made of.
_HOME = {
    "Account": "three_mode.calls.provider_accounts",
    "BatchJob": "three_mode.calls.batches",
    "BatchStatus": "three_mode.calls.batches",
    "ConnectionFigures": "three_mode.calls.figures",
    "ConnectionOptions": "three_mode.calls.options",
    "GRPCOptions": "three_mode.channels.grpc_options",
    "Health": "three_mode.calls.health",
    "Observing": "three_mode.calls.options",
    "Progress": "three_mode.calls.batch",
    "ProviderStatus": "three_mode.calls.provider_status",
    "ReplyStream": "three_mode.calls.stream",
}

__all__ = [
    "Account",
    "BatchJob",
    "BatchStatus",
    "ConnectionFigures",
    "ConnectionOptions",
    "GRPCOptions",
    "Health",
    "LLMConnection",
    "Observing",
    "Progress",
    "ProviderStatus",
    "ReplyStream",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'three_mode.connection' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


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
        policies: "Policies | None" = None,
        observe: "Observing | None" = None,
        options: "ConnectionOptions | None" = None,
        bus: Any = None,
        use_grpc: bool | str = False,
    ) -> None:
        """`bus` is a joined `transports.bus.Bus`, for `agent:NAME`; without one it is the bus that this event loop is
        on. `use_grpc` calls the provider over gRPC, at the address that it names or that is known for the provider;
        where no gRPC is there, HTTP answers. A `base_url` of grpc:// or grpcs:// is one of gRPC alone."""
        from three_mode.calls.options import ConnectionOptions, Observing
        from three_mode.calls.provider_accounts import Account
        from three_mode.services import Arguments, services_of

        self._options = options = options or ConnectionOptions()
        grpc_url = use_grpc if isinstance(use_grpc, str) else None
        own = Account(api_key=api_key, base_url=base_url, grpc_url=grpc_url, headers=options.headers)
        arguments = Arguments(
            own=own,
            provider=provider,
            model=model,
            mode=mode,
            timeout=timeout,
            max_retries=max_retries,
            policies=policies,
            observe=observe or Observing(),
            options=options,
            bus=bus,
            use_grpc=use_grpc,
        )
        self._model, self._closed = model, False
        self._services = services = services_of(arguments, self._learn_fast_path)
        self.metrics = services.log.metrics
        # Fast paths to agents, by what requests say: a model's name (or the connection's) and a mode.
        self._fast_paths: dict[tuple[str | None, CommunicationMode | None], AgentFastPath] = {}
        self._fast_path_finder: AgentFastPaths | None = None
        self._provider_fast_paths: ProviderFastPaths | None = None  # of those who ask without a task

    def __repr__(self) -> str:
        return f"<LLMConnection to {self._services.provider.name or 'the first available provider'}>"

    @property
    def default_model(self) -> str | None:
        """The model of requests that name none: that of the connection, or of the config file; None: the provider's."""
        return self._model or self._services.targets.default_model

    # Calls

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        """The whole reply. Raises one of `three_mode.errors`; see there."""
        # A plain function: a coroutine that only passes on would be one more for every call. `fast` is the way to an
        # agent that was asked before, where no policy has a say: calls/agent_fast_path.py.
        try:
            fast = self._fast_paths.get((request.model or self._model, request.mode))
        except AttributeError:
            raise no_request(request, "chat_completion") from None
        if fast is None or request.provider is not None:
            return self._complete(request)
        return fast.complete(request, self._complete)

    def begin_completion(self, request: LLMRequest, on_done: "OnDone") -> "TasklessCall | None":
        """Asks without a task an agent or a provider's model that was asked before: `on_done` gets the whole reply, or
        after a failure what gives it in the normal way. None: nothing was asked, and `chat_completion` has to be
        called."""
        to_agent = self._fast_paths.get((request.model or self._model, request.mode))
        if to_agent is not None and request.provider is None:
            return to_agent.begin(request, self._complete, on_done)
        to_provider = (self._provider_fast_paths or self._find_provider_fast_paths()).find(request)
        return None if to_provider is None else to_provider.begin(request, self._complete, on_done)

    async def _complete(self, request: LLMRequest, failed: "FailedFirstAttempt | None" = None) -> LLMResponse:
        """The normal way of every call. `failed` is how a first attempt ended, where one was made already."""
        services = self._services
        call, targets = await services.preparation.prepare(request, failed)
        try:
            if call.span is None:
                answer, usage = await services.pipeline.answer(call, targets)
            else:
                with call.span.active():
                    answer, usage = await services.pipeline.answer(call, targets)
            reply = services.log.complete_reply(call, answer, usage)
            if services.observe.after is not None:
                reply = await services.hooked(reply)
        except BaseException as error:
            services.log.fail_call(call, error)
            raise
        services.log.finish_call(call, reply)
        return reply

    def stream(self, request: LLMRequest) -> "ReplyStream":
        """Chunks as they come. An error before the first content is raised as such; after it, `StreamInterrupted`."""
        if not isinstance(request, LLMRequest):
            raise no_request(request, "stream")
        return self._services.stream(request, self._fast_stream)

    @overload
    async def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = ...,
        progress: "Callable[[Progress], object] | None" = ...,
        later: Literal[False] = ...,
    ) -> "list[Outcome]": ...

    @overload
    async def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        later: Literal[True],
        within: float | None = ...,
        file: "str | Path | None" = ...,
    ) -> "BatchJob": ...

    async def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = 8,
        progress: "Callable[[Progress], object] | None" = None,
        later: bool = False,
        within: float | None = None,
        file: "str | Path | None" = None,
    ) -> "list[Outcome] | BatchJob":
        """Results in the order of the requests; a call that failed is its error, as a value.

        With `later=True` the provider answers within a day, at a lower price: the requests are submitted, in `within`
        seconds at most, and `job.results()` waits for the answers, here or in another process (`batch_job`). Where the
        submitting process may end in the middle, the same call with the same `file` goes on with that job.
        """
        if later:
            if progress is not None:
                raise InvalidRequest(
                    "a batch has no progress while it is submitted", field="progress", hint="job.results(progress=...)"
                )
            self._services.preparation.check_open()
            return await self._services.batches.get().submit(requests, within, file)
        if within is not None or file is not None:
            raise InvalidRequest(
                "within= and file= are for later=True", field="later", hint="each request has within= of its own"
            )
        from three_mode.calls.batch import run_batch

        return await run_batch(self.chat_completion, requests, at_once, progress)

    def batch_job(self, job: str) -> "BatchJob":
        """The job with this id, to go on with it in another process or after a restart. Asks nobody."""
        self._services.preparation.check_open()
        return self._services.batches.get().job(job)

    def run(
        self,
        request: LLMRequest,
        tools: "AnyTools" = (),
        *,
        most_rounds: int = 5,
        within: float | None = None,
        budget: "Decimal | float | None" = None,
        tool_choice: str | Sequence[str] | None = None,
        asked: "AskedModel | None" = None,
    ) -> "Coroutine[Any, Any, RunReply]":
        """Runs the tools that the model calls, until it answers: the reply, with all messages, outcomes and the summed
        usage.

        A limit that ends the run is named in `reply.ended`: `most_rounds` calls to the model, `within` seconds (300
        where none are given, and no more than the call being handled has), or `budget` US dollars. `tool_choice`
        ("required", or a tool's name) is that of the first round alone; of several, one for each of the first rounds.
        `asked` answers the rounds in the place of this connection: what stands before it, as a conversation does.
        """
        from three_mode.tools.run import run
        from three_mode.tools.run_state import RunLimits

        return run(
            asked or self,
            request,
            tools,
            RunLimits(most_rounds=most_rounds, within=within, budget=budget, tool_choice=tool_choice),
            self._services.tell_outcome,
            self._services.run_tracer,
        )

    def run_stream(
        self,
        request: LLMRequest,
        tools: "AnyTools" = (),
        *,
        most_rounds: int = 5,
        within: float | None = None,
        budget: "Decimal | float | None" = None,
        tool_choice: str | Sequence[str] | None = None,
        asked: "AskedModel | None" = None,
    ) -> "RunStream":
        """`run` as events: chunks of the model's answers, tool calls, their results and rounds, as they come."""
        from three_mode.tools.run import RunStream
        from three_mode.tools.run_state import RunLimits

        return RunStream(
            asked or self,
            request,
            tools,
            RunLimits(most_rounds=most_rounds, within=within, budget=budget, tool_choice=tool_choice),
            self._services.tell_outcome,
            self._services.run_tracer,
        )

    async def ask(self, prompt: str, **request: Any) -> str:
        """The text of the answer to one prompt: `await llm.ask("Why?", model="gpt-5", max_tokens=50)`."""
        asked = LLMRequest(messages=[{"role": "user", "content": prompt}], **request)
        return (await self.chat_completion(asked)).content

    async def embed(
        self,
        model: str | None,
        texts: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]],
        *,
        dimensions: int | None = None,
        within: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Embedded:
        """A vector for each text, from any model that embeds: a provider's, a local one, or an agent. A text may be
        given as its tokens, where the model takes them.

        There is no fallback to another model: its vectors would mean something else.
        """
        services = self._services
        services.preparation.check_open()
        given = {"model": model, "dimensions": dimensions, "within": within, "extra": extra or {}}
        request = EmbedRequest.of(texts, **given)
        target = await services.targets.for_embedding(model, within)
        time_left = services.defaults.time_limit(within, target.provider)
        return await services.embedding.embed(request, target, time_left, services.defaults.label)

    async def rerank(
        self,
        model: str | None,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        within: float | None = None,
        extra: dict[str, Any] | None = None,
    ) -> Reranked:
        """The documents in the order in which they answer the query, the best first, from any model that reranks: a
        provider's at /rerank, a local one, or an agent. There is no fallback: scores of two models do not compare.
        """
        services = self._services
        services.preparation.check_open()
        request = RerankRequest(
            query=query, documents=documents, model=model, top_n=top_n, within=within, extra=extra or {}
        )
        target = await services.targets.for_embedding(model, within, "rerank")
        time_left = services.defaults.time_limit(within, target.provider)
        return await services.embedding.rerank(request, target, time_left, services.defaults.label)

    # What is known

    @property
    def mode(self) -> CommunicationMode:
        """The mode of requests that name none."""
        return self._services.targets.mode

    def local_models(self) -> tuple[str, ...]:
        """The names in the catalogue of this computer."""
        return tuple(self._services.local_names)

    def breaker_states(self) -> dict[str, str]:
        """Targets that are not well: open (failed too often) or half-open (on trial)."""
        return self._services.gates.states()

    async def health(self, within: float = 2.0) -> "dict[str, Health]":
        """Asks the provider, and those that fallback and routes name, side by side."""
        from three_mode.calls.health import check_health

        services = self._services
        names = await services.targets.providers()
        return await check_health(names, services.remote.endpoint, services.gates.states(), within)

    async def models(self, provider: str | None = None, within: float = 10.0) -> tuple[str, ...]:
        """The names of the models that a provider has."""
        services = self._services
        name = services.accounts.profile(provider).name if provider else await services.provider.found()
        deadline = asyncio.get_running_loop().time() + within
        return await services.remote.endpoint(name).models(deadline)

    def capabilities(self, model: str) -> "Capabilities":
        """What a model can do, as far as the table of models knows it."""
        from three_mode.providers.capabilities import capabilities

        return capabilities(model)

    async def count(self, request: LLMRequest, *, within: float = 10.0) -> int | None:
        """The tokens of a request, exactly: by the tokenizer of a local model, or by the counting endpoint of Anthropic
        or Gemini. None for any other model; `estimate` is there for all."""
        from three_mode.dispatcher import HERE, LOCAL

        services = self._services
        services.preparation.check_open()
        targets, _ = await services.targets.for_request(request)
        target = targets[0]
        if target.provider == LOCAL:
            is_file = "/" in target.model and not names_files(target.model)
            answers = await self.local_model(f"gguf:{target.model}" if is_file else target.model)
            return await answers.count(request) if answers is not None else None
        if target.provider in HERE:
            return None
        count = getattr(services.remote.endpoint(target.provider), "count", None)
        if count is None:
            return None
        found: int | None = await count(request, target.model, asyncio.get_running_loop().time() + within)
        return found

    def provider_of(self, model: str) -> str | None:
        """The other provider that a model's name begins with, as in `anthropic/claude-sonnet-4-5`; None where the name
        is of a model of the connection's own provider, an agent, a local model, an address or a route.

        Where that provider has models of many vendors, as a `base_url=` may have, such a name is one of its own.
        """
        return self._services.targets.named_provider(model)

    @property
    def provider_name(self) -> str | None:
        """The provider of requests that name none. None: nobody named one, and no request has looked for one yet."""
        return self._services.provider.name

    def has_target(self, model: str) -> bool:
        """Whether there is anything to ask for this model: a route, a model of this computer, an agent, an address, or
        a provider that has what it needs. Asks nobody, so that a name may turn out to be unknown there."""
        return self._services.targets.has_target(model)

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        from three_mode.providers.estimate import estimate_tokens

        if not isinstance(request, LLMRequest):
            raise no_request(request, "estimate")
        model = request.model or self._model or ""
        provider = self._services.provider.name
        profile = self._services.accounts.profile(provider) if provider else None
        return estimate_tokens(request, model, profile.multiplier(model) if profile else 1.0)

    def default_within(self, model: str | None = None) -> float:
        """The seconds of a call to a model that names none of its own."""
        named = model or self.default_model
        provider = (self.provider_of(named) if named else None) or self._services.provider.name
        return self._services.defaults.default_time_limit(provider or "")

    def spent(self, **named: str) -> "Spent":
        """What was used so far: of a `provider=`, `model=` or `label=`, or of all."""
        return self._services.log.ledger.spent(**named)

    def report(self, by: "Dimension | Iterable[Dimension] | None" = None) -> "Report":
        """What the calls so far used and cost, how fast they were and how they ended: in total, and by provider, model,
        label, conversation and side of a route, or by those of them that `by` names. A call counts when it ends."""
        return self._services.log.book.tallies.report(by)

    def providers(self) -> "dict[str, ProviderStatus]":
        """Each provider that is known, configured or was called: whether it is available or why not, its default model,
        requests and tokens so far. Asks nobody; `health` does."""
        return self._services.provider_statuses()

    def budgets(self) -> dict[str, Any]:
        """Each budget and the dollars it has left."""
        return dict(self._services.log.ledger.left())

    async def figures(self) -> "ConnectionFigures":
        """All of this at one moment, as plain values that travel: tokens and money by provider, model and label,
        budgets, breakers, limiters, and the statistics of the models of this computer that are loaded."""
        return await self._services.figures()

    def events(self, kinds: Iterable[str] | None = None, *, waiting: int = 1024) -> "EventReader":
        """What happens on this connection from now on, as an async iterator, until it is closed: calls, chunks, tools,
        conversations, providers, budgets. `three_mode.events` has the values.

        `kinds` are those of `three_mode.events.KINDS`; None: all. At most `waiting` events wait for a slow reader: the
        oldest are lost then, and an `EventGap` says how many. `Observing(events=...)` calls a function instead.
        """
        from three_mode.events.reader import EventReader

        return EventReader(self.event_hub, kinds, waiting)

    @property
    def event_hub(self) -> "ConnectionHub":
        """The hub of `events`: where a program listens with a function, or publishes events of its own parts."""
        return self._services.log.hub

    def watch_steps(self, listener: Callable[[str, Step], object]) -> Callable[[], None]:
        """Calls `listener(request_id, step)` at each step of the calls that begin from now on, at its moment: attempts,
        waits, retries, switches of provider. The returned function ends it. `Observing(step=...)` does the same from
        the beginning.

        `events` has what else happens.
        """
        return self._services.log.watch_steps(listener)

    async def prepare(self, model: str) -> bool:
        """Loads a local model now, rather than at the first call; False for any other.

        Of a provider's model it checks what is known here: that there is such a provider, and a key for it.
        """
        if await self.local_model(model) is not None:
            return True
        await self._services.check_model(model)
        return False

    async def local_model(self, model: str) -> "LocalAnswers | None":
        """Loads a local model, and gives its answers without the policies of a connection: for callers who pass them on
        to others that have policies of their own. None for any other model."""
        from three_mode.dispatcher import LOCAL, target_of

        services = self._services
        target = target_of(resolve(model, local_names=services.local_names))
        if target is None or target.provider != LOCAL:
            return None
        channel: Any = services.dispatcher.channel(CommunicationMode.AI_PC)
        await channel.load(target.model)
        from three_mode.channels.local.channel import LocalAnswers

        defaults = services.accounts.fitted_defaults(LOCAL, target.model)
        return LocalAnswers(channel, target.model, defaults, lambda within: services.defaults.time_limit(within, LOCAL))

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
        self._services.preparation.close()
        for fast in self._fast_paths.values():
            fast.close()
        self._fast_paths.clear()
        if self._provider_fast_paths is not None:
            self._provider_fast_paths.close()
        await self._services.close()

    # Fast paths

    def _learn_fast_path(self, request: LLMRequest, target: "Target") -> None:
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

    def _find_provider_fast_paths(self) -> "ProviderFastPaths":
        """Fast paths to providers, which are learnt of from now on."""
        from three_mode.calls.provider_fast_path import ProviderFastPaths

        services = self._services
        found = self._provider_fast_paths = ProviderFastPaths(
            self._model,
            services.dispatcher,
            services.accounts,
            services.gates,
            services.log,
            services.defaults,
            services.policies,
            services.observe,
        )
        services.preparation.learn_provider = found.learn
        return found

    def _fast_stream(self, request: LLMRequest) -> "AgentFastStream | None":
        """The fast path of a stream, where it has one just now."""
        fast = self._fast_paths.get((request.model or self._model, request.mode))
        return None if fast is None or request.provider is not None else fast.try_stream(request)
