"""Connection and orchestrator for code without an event loop.

    from three_mode.sync import LLMConnection
    with LLMConnection(provider="openai") as llm:
        print(llm.chat_completion(request).content)
        for chunk in llm.stream(request): print(chunk.text, end="")

    from three_mode.sync import Orchestrator
    with Orchestrator(hosts=2) as orc:
        scouts = orc.spawn(Scout, 512, name="scout")
        print(scouts[7].ask(Scout.score, "hello", within=2.0))

One background thread runs one event loop for all connections and orchestrators of the process. Calls from any number of
threads share the loop and its connections. Interrupting a call (Ctrl-C) cancels it at the provider, or at the agent.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, overload

from three_mode import connection
from three_mode.background_loop import LOOP as _LOOP
from three_mode.background_loop import takes_arguments_of
from three_mode.calls.batch import Outcome, Progress
from three_mode.calls.health import Health
from three_mode.calls.stream import ReplyStream as AsyncReplyStream
from three_mode.messages import Chunk, Embedded, LLMRequest, LLMResponse, Message, Reranked, Step
from three_mode.modes import CommunicationMode
from three_mode.observe.metrics import Metrics, Snapshot
from three_mode.policies import Spent
from three_mode.providers.capabilities import Capabilities

if TYPE_CHECKING:
    from three_mode.calls.figures import ConnectionFigures
    from three_mode.calls.provider_status import ProviderStatus
    from three_mode.events.hub import ConnectionHub
    from three_mode.events.values import LLMEvent
    from three_mode.memory import MemoryBlock, MemoryOptions, Recollection
    from three_mode.observe import Report
    from three_mode.prompts import EnhancedMessages
    from three_mode.sync_agents import AgentGroup as AgentGroup
    from three_mode.sync_agents import AgentReceipt as AgentReceipt
    from three_mode.sync_agents import AgentRef as AgentRef
    from three_mode.sync_agents import Joined as Joined
    from three_mode.sync_agents import Orchestrator as Orchestrator
    from three_mode.sync_agents import Stream as Stream
    from three_mode.sync_agents import join as join
    from three_mode.sync_batches import BatchJob as BatchJob
    from three_mode.sync_conversations import Conversations as Conversations
    from three_mode.sync_conversations import Talk as Talk
    from three_mode.sync_conversations import TalkStream as TalkStream
    from three_mode.sync_events import Events as Events
    from three_mode.sync_mcp import McpTools as McpTools
    from three_mode.tools.events import RunEvent, RunReply
    from three_mode.tools.run import RunStream as AsyncRunStream

# Imported when first used: a connection needs no bus and no file. Name -> the module it lives in.
_HOME = {
    "AgentGroup": "three_mode.sync_agents",
    "AgentReceipt": "three_mode.sync_agents",
    "AgentRef": "three_mode.sync_agents",
    "BatchJob": "three_mode.sync_batches",
    "Conversations": "three_mode.sync_conversations",
    "Events": "three_mode.sync_events",
    "Joined": "three_mode.sync_agents",
    "McpTools": "three_mode.sync_mcp",
    "Orchestrator": "three_mode.sync_agents",
    "Stream": "three_mode.sync_agents",
    "Talk": "three_mode.sync_conversations",
    "TalkStream": "three_mode.sync_conversations",
    "join": "three_mode.sync_agents",
}

__all__ = [
    "AgentGroup",
    "AgentReceipt",
    "AgentRef",
    "BatchJob",
    "Conversations",
    "Events",
    "Joined",
    "LLMConnection",
    "McpTools",
    "Memory",
    "Orchestrator",
    "ReplyStream",
    "RunStream",
    "Stream",
    "Talk",
    "TalkStream",
    "join",
    "run",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'three_mode.sync' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


T = TypeVar("T")
P = ParamSpec("P")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop of this module's connections, for example to join a bus that a connection uses."""
    return _LOOP.run(work)


class ReplyStream:
    """Chunks of an answer as an iterator.

    Leaving the `with` block, or dropping the stream, ends the call at the provider.
    """

    def __init__(self, stream: AsyncReplyStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        chunk = _LOOP.run(_next(self._stream)) if not self._stream.waiting else self._stream.take()
        if chunk is None:
            raise StopIteration
        return chunk

    def __enter__(self) -> Self:
        _LOOP.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the call, at the provider too."""
        _LOOP.run(self._stream.aclose())

    def batch(self) -> list[Chunk]:
        """All that has come by now, and at least one chunk; [] at the end."""
        return _LOOP.run(self._stream.batch())

    @property
    def waiting(self) -> int:
        """How many chunks are here already."""
        return self._stream.waiting

    def take(self) -> Chunk:
        """The next of the chunks that are here already."""
        return self._stream.take()

    def response(self) -> LLMResponse:
        """The answer as far as it has come."""
        return self._stream.response()

    def text(self) -> str:
        """Reads the rest, and returns the whole text of the answer."""
        return _LOOP.run(self._stream.text())


async def _next(stream: AsyncReplyStream) -> Chunk | None:
    return await anext(stream, None)


class RunStream:
    """Events of a run with tools as an iterator. Leaving the `with` block ends the run."""

    def __init__(self, stream: "AsyncRunStream") -> None:
        self._stream = stream

    def __iter__(self) -> "Iterator[RunEvent]":
        return self

    def __next__(self) -> "RunEvent":
        event = _LOOP.run(_next_event(self._stream))
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the run: the model's call, and the tools that run."""
        _LOOP.run(self._stream.aclose())

    def response(self) -> "RunReply":
        """The reply so far; whole once `RunFinished` has come."""
        return self._stream.response()

    def text(self) -> str:
        """Reads to the end; the text of the last answer."""
        return _LOOP.run(self._stream.text())


async def _next_event(stream: "AsyncRunStream") -> "RunEvent | None":
    return await anext(stream, None)


class _MetricsInLoop(Metrics):
    """Metrics of a connection, read in the loop's thread."""

    def __init__(self, metrics: Metrics) -> None:
        vars(self).update(vars(metrics))

    def snapshot(self, provider: str | None = None, model: str | None = None) -> Snapshot:
        return _LOOP.read(partial(super().snapshot, provider, model))


class LLMConnection:
    """`three_mode.LLMConnection` without await, with the same arguments. Threads may share one."""

    @takes_arguments_of(connection.LLMConnection.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:
        self._async = connection.LLMConnection(*args, **options)
        self._metrics = _MetricsInLoop(self._async.metrics)

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    def chat_completion(self, request: LLMRequest) -> LLMResponse:
        """The whole reply. Raises one of `three_mode.errors`."""
        return _LOOP.run(self._async.chat_completion(request))

    def stream(self, request: LLMRequest) -> ReplyStream:
        """Chunks as they come. An error before the first content is raised as such; after it, `StreamInterrupted`."""
        return ReplyStream(self._async.stream(request))

    @overload
    def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = ...,
        progress: Callable[[Progress], object] | None = ...,
        later: Literal[False] = ...,
    ) -> list[Outcome]: ...

    @overload
    def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        later: Literal[True],
        within: float | None = ...,
        file: str | Path | None = ...,
    ) -> "BatchJob": ...

    def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = 8,
        progress: Callable[[Progress], object] | None = None,
        later: bool = False,
        within: float | None = None,
        file: str | Path | None = None,
    ) -> "list[Outcome] | BatchJob":
        """Results in the order of the requests; a call that failed is its error, as a value.

        `at_once` calls run side by side. `progress` is called from the background thread. With `later=True` the
        provider answers within a day, and `job.results()` waits for it; `file` goes on with a job after a crash.
        """
        options: Any = {"at_once": at_once, "progress": progress, "later": later, "within": within, "file": file}
        found: Any = _LOOP.run(self._async.batch(requests, **options))
        if not later:
            outcomes: list[Outcome] = found
            return outcomes
        from three_mode.sync_batches import BatchJob

        return BatchJob(found)

    def batch_job(self, job: str) -> "BatchJob":
        """The job with this id, to go on with it in another process or after a restart. Asks nobody."""
        from three_mode.sync_batches import BatchJob

        return BatchJob(_LOOP.read(partial(self._async.batch_job, job)))

    @takes_arguments_of(connection.LLMConnection.run)
    def run(self, *args: Any, **options: Any) -> "RunReply":
        """Runs the tools that the model calls, until it answers or a limit ends it.

        Plain functions run on threads, async ones on the loop of this module.
        """
        return _LOOP.run(self._async.run(*args, **options))

    @takes_arguments_of(connection.LLMConnection.run_stream)
    def run_stream(self, *args: Any, **options: Any) -> RunStream:
        """`run` as events: chunks of the model's answers, tool calls, their results and rounds, as they come."""
        return RunStream(self._async.run_stream(*args, **options))

    def ask(self, prompt: str, **request: Any) -> str:
        """The text of the answer to one prompt: `llm.ask("Why?", model="gpt-5", max_tokens=50)`."""
        return _LOOP.run(self._async.ask(prompt, **request))

    @takes_arguments_of(connection.LLMConnection.embed)
    def embed(self, *args: Any, **options: Any) -> Embedded:
        """A vector for each text. The options are `dimensions`, `within` (seconds) and `extra`."""
        return _LOOP.run(self._async.embed(*args, **options))

    @takes_arguments_of(connection.LLMConnection.rerank)
    def rerank(self, *args: Any, **options: Any) -> Reranked:
        """Documents, the best first. The options are `top_n`, `within` (seconds) and `extra`."""
        return _LOOP.run(self._async.rerank(*args, **options))

    def prepare(self, model: str) -> bool:
        """Loads a local model now, rather than at the first call; False for any other.

        Of a provider's model it checks what is known here: that there is such a provider, and a key for it.
        """
        return _LOOP.run(self._async.prepare(model))

    def local_models(self) -> tuple[str, ...]:
        """The names in the catalogue of this computer, and those that the connection gives to files of its own."""
        return self._async.local_models()

    def breaker_states(self) -> dict[str, str]:
        """Targets that are not well: open (failed too often) or half-open (on trial)."""
        return _LOOP.read(self._async.breaker_states)

    def health(self, within: float = 2.0) -> dict[str, Health]:
        """Checks the provider, and the providers of fallback and routes, side by side, for at most `within` seconds."""
        return _LOOP.run(self._async.health(within))

    def models(self, provider: str | None = None, within: float = 10.0) -> tuple[str, ...]:
        """The names of the models that a provider has."""
        return _LOOP.run(self._async.models(provider, within))

    def capabilities(self, model: str) -> Capabilities:
        """Capabilities of a model: tools, images, thinking, and how many tokens."""
        return self._async.capabilities(model)

    def count(self, request: LLMRequest, *, within: float = 10.0) -> int | None:
        """The tokens of a request, exactly; None where nobody counts them, and there is only `estimate`."""
        return _LOOP.run(self._async.count(request, within=within))

    def provider_of(self, model: str) -> str | None:
        """The other provider that a model's name begins with, as in `anthropic/claude-sonnet-4-5`."""
        return self._async.provider_of(model)

    @property
    def provider_name(self) -> str | None:
        """The provider of requests that name none; None: nobody named one, and no request has looked for one yet."""
        return self._async.provider_name

    def has_target(self, model: str) -> bool:
        """Whether there is anything to ask for this model. Asks nobody."""
        return self._async.has_target(model)

    def watch_steps(self, listener: Callable[[str, Step], object]) -> Callable[[], None]:
        """Calls `listener(request_id, step)` at each step of a call, in the background thread of all connections. The
        returned function ends it."""
        return self._async.watch_steps(listener)

    def default_within(self, model: str | None = None) -> float:
        """The seconds of a call to a model that names none of its own."""
        return _LOOP.read(partial(self._async.default_within, model))

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        return self._async.estimate(request)

    def spent(self, **named: str) -> Spent:
        """Tokens and money used so far, of a `provider=`, `model=` or `label=`, or of all calls."""
        return _LOOP.read(partial(self._async.spent, **named))

    @takes_arguments_of(connection.LLMConnection.report)
    def report(self, *args: Any, **options: Any) -> "Report":
        """What the calls so far used and cost, how fast they were and how they ended, in total and broken down `by`."""
        return _LOOP.read(partial(self._async.report, *args, **options))

    def providers(self) -> "dict[str, ProviderStatus]":
        """Each provider that is known, configured or was called: whether it is available, and what it was asked for."""
        return _LOOP.read(self._async.providers)

    def figures(self) -> "ConnectionFigures":
        """Tokens and money, budgets, breakers, limiters and loaded models at one moment, as plain values."""
        return _LOOP.run(self._async.figures())

    @takes_arguments_of(connection.LLMConnection.events)
    def events(self, *args: Any, **options: Any) -> "Events[LLMEvent]":
        """What happens on this connection from now on, as an iterator, until the connection is closed."""
        from three_mode.sync_events import Events

        return Events(self._async.events(*args, **options))

    @property
    def event_hub(self) -> "ConnectionHub":
        """The hub of `events`. Functions that listen are called in the background thread of all connections."""
        return self._async.event_hub

    def budgets(self) -> dict[str, Any]:
        """Each budget and the dollars it has left."""
        return _LOOP.read(self._async.budgets)

    @property
    def default_model(self) -> str | None:
        """The model of requests that name none."""
        return self._async.default_model

    @property
    def mode(self) -> CommunicationMode:
        """The mode of requests that name none."""
        return self._async.mode

    @property
    def metrics(self) -> Metrics:
        """Counts and latencies of calls, by provider and model."""
        return self._metrics

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancels the calls in progress, and closes connections. Closing twice does no harm."""
        _LOOP.run(self._async.close())


class Memory:
    """`three_mode.memory.Memory` without await. Threads may share one; `llm` is a connection of this module."""

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        namespace: str = "default",
        llm: LLMConnection | None = None,
        options: "MemoryOptions | None" = None,
    ) -> None:
        from three_mode.memory import Memory as AsyncMemory  # it loads SQLite

        embedder = None if llm is None else llm._async
        self._async = AsyncMemory(path, namespace=namespace, llm=embedder, options=options)

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    @property
    def namespace(self) -> str:
        """Whose memories these are."""
        return self._async.namespace

    def scoped(self, namespace: str) -> "Memory":
        """The memories of another namespace in the same file. Closing it does nothing: close the first one."""
        other = object.__new__(Memory)
        other._async = self._async.scoped(namespace)
        return other

    def remember(
        self, text: str, *, source: str = "program", reference: str = "", keep_for: float | None = None
    ) -> "Recollection":
        """Remembers a text, for `keep_for` seconds; None: as the options say."""
        return _LOOP.run(self._async.remember(text, source=source, reference=reference, keep_for=keep_for))

    def remember_many(
        self, texts: Sequence[str], *, source: str = "program", reference: str = "", keep_for: float | None = None
    ) -> "list[Recollection]":
        """Remembers texts, all of them or none."""
        return _LOOP.run(self._async.remember_many(texts, source=source, reference=reference, keep_for=keep_for))

    def recall(self, query: str, *, limit: int | None = None) -> "list[Recollection]":
        """Memories that are nearest to a query, the nearest first; at most `limit`, None: as the options say."""
        return _LOOP.run(self._async.recall(query, limit=limit))

    def memories(self, *, limit: int = 100, before: int | None = None) -> "list[Recollection]":
        """Memories without a search, the newest first; `before` is the id to go on from."""
        return _LOOP.run(self._async.memories(limit=limit, before=before))

    def count(self) -> int:
        """How many memories there are."""
        return _LOOP.run(self._async.count())

    def forget(self, *ids: int) -> int:
        """Forgets memories by their ids; returns how many there were."""
        return _LOOP.run(self._async.forget(*ids))

    def forget_all(self, *, source: str | None = None) -> int:
        """Forgets all memories and pinned blocks; with a source, only the memories from there."""
        return _LOOP.run(self._async.forget_all(source=source))

    def embed_missing(self) -> int:
        """Embeds memories that have no vector of the embedding model; returns how many."""
        return _LOOP.run(self._async.embed_missing())

    def pin(self, label: str, text: str) -> "MemoryBlock":
        """Pins a text under a label, in the place of an earlier one."""
        return _LOOP.run(self._async.pin(label, text))

    def unpin(self, label: str) -> bool:
        """Removes a pinned block; False where there is none of that label."""
        return _LOOP.run(self._async.unpin(label))

    def blocks(self) -> "list[MemoryBlock]":
        """The pinned blocks, by their labels."""
        return _LOOP.run(self._async.blocks())

    def recalled(self, messages: Sequence[Message | Mapping[str, Any]]) -> "EnhancedMessages":
        """The conversation with pinned blocks and what is near to its last user's turn, marked as data."""
        return _LOOP.run(self._async.recalled(messages))

    def __enter__(self) -> Self:
        _LOOP.run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; its memories stay. Closing twice does no harm."""
        _LOOP.run(self._async.close())
