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

import inspect
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from three_mode import connection
from three_mode.background_loop import LOOP as _LOOP
from three_mode.calls.batch import Outcome, Progress
from three_mode.calls.health import Health
from three_mode.calls.stream import ReplyStream as AsyncReplyStream
from three_mode.messages import Chunk, Embedded, LLMRequest, LLMResponse
from three_mode.observe.metrics import Metrics, Snapshot
from three_mode.policies import Spent
from three_mode.providers.capabilities import Capabilities

if TYPE_CHECKING:
    from three_mode.sync_agents import AgentGroup as AgentGroup
    from three_mode.sync_agents import AgentReceipt as AgentReceipt
    from three_mode.sync_agents import AgentRef as AgentRef
    from three_mode.sync_agents import Orchestrator as Orchestrator
    from three_mode.sync_agents import Stream as Stream

# Imported when first used: a connection needs no bus.
_AGENTS = ("AgentGroup", "AgentReceipt", "AgentRef", "Orchestrator", "Stream")

__all__ = ["AgentGroup", "AgentReceipt", "AgentRef", "LLMConnection", "Orchestrator", "ReplyStream", "Stream", "run"]


def __getattr__(name: str) -> object:
    if name not in _AGENTS:
        raise AttributeError(f"module 'three_mode.sync' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("three_mode.sync_agents"), name)
    return value


T = TypeVar("T")
P = ParamSpec("P")


def _takes_arguments_of(
    source: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Decorator: gives a method the signature of an async one, for type checkers and for the documentation."""

    def decorate(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        returned = inspect.signature(method).return_annotation
        signature = inspect.signature(source).replace(return_annotation=returned)
        method.__signature__ = signature  # type: ignore[attr-defined]  # `inspect` reads it
        return method

    return decorate


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


class _MetricsInLoop(Metrics):
    """Metrics of a connection, read in the loop's thread."""

    def __init__(self, metrics: Metrics) -> None:
        vars(self).update(vars(metrics))

    def snapshot(self, provider: str | None = None, model: str | None = None) -> Snapshot:
        return _LOOP.read(partial(super().snapshot, provider, model))


class LLMConnection:
    """`three_mode.LLMConnection` without await, with the same arguments. Threads may share one."""

    @_takes_arguments_of(connection.LLMConnection.__init__)
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

    def batch(
        self,
        requests: Sequence[LLMRequest],
        *,
        at_once: int = 8,
        progress: Callable[[Progress], object] | None = None,
    ) -> list[Outcome]:
        """Results in the order of the requests; a call that failed is its error, as a value.

        `at_once` calls run side by side. `progress` is called from the background thread.
        """
        return _LOOP.run(self._async.batch(requests, at_once=at_once, progress=progress))

    def ask(self, prompt: str, **request: Any) -> str:
        """The text of the answer to one prompt: `llm.ask("Why?", model="gpt-5", max_tokens=50)`."""
        return _LOOP.run(self._async.ask(prompt, **request))

    @_takes_arguments_of(connection.LLMConnection.embed)
    def embed(self, *args: Any, **options: Any) -> Embedded:
        """A vector for each text. The options are `dimensions`, `within` (seconds) and `extra`."""
        return _LOOP.run(self._async.embed(*args, **options))

    def prepare(self, model: str) -> bool:
        """Loads a local model now, rather than at the first call; False for any other, where there is nothing to do."""
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

    def estimate(self, request: LLMRequest) -> int:
        """About how many tokens the request is, as its provider counts them."""
        return self._async.estimate(request)

    def spent(self, **named: str) -> Spent:
        """Tokens and money used so far, of a `provider=`, `model=` or `label=`, or of all calls."""
        return _LOOP.read(partial(self._async.spent, **named))

    def budgets(self) -> dict[str, Any]:
        """Each budget and the dollars it has left."""
        return _LOOP.read(self._async.budgets)

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
