"""A model for code without an event loop: every call runs on one background loop."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from local_models.model import LocalModel
from local_models.options import DEFAULTS, Generate, GenerateChanges, LoadOptions, Lora
from local_models.prompts.templates import Message
from local_models.replies import Piece, Reply, Statistics
from local_models.stream import PieceStream

T = TypeVar("T")


class _Loop:
    """A loop on a thread of its own, for one model."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-model-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # KeyboardInterrupt too: the call must not go on for nobody
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncModel:
    """`with SyncModel.load("tiny") as model: model.chat(messages).text`. May be used from several threads."""

    def __init__(self, model: LocalModel, loop: _Loop) -> None:
        self._model, self._loop = model, loop
        self._closed = False

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "tiny", options: LoadOptions | None = None) -> Self:
        """Loads a model: `tiny`, the path of a GGUF file, or a catalogued name."""
        loop = _Loop()
        try:
            return cls(loop.run(LocalModel.load(model, options)), loop)
        except BaseException:
            loop.close()
            raise

    def chat(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        """The answer to a conversation."""
        return self._loop.run(self._model.chat(messages, options, **changes))

    def complete(self, prompt: str, options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]) -> Reply:
        """The continuation of a text, without a chat template."""
        return self._loop.run(self._model.complete(prompt, options, **changes))

    def stream(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Iterator[Piece]:
        """Leaving the iteration early ends the call."""
        pieces = self._model.stream(messages, options, **changes)
        try:
            while (piece := self._loop.run(_following(pieces))) is not None:
                yield piece
        finally:
            self._loop.run(pieces.aclose())

    def embed(self, texts: str | Sequence[str]) -> list[list[float]]:
        """A vector for each text."""
        return self._loop.run(self._model.embed(texts))

    def tokenize(self, text: str) -> list[int]:
        """The tokens of a text."""
        return self._loop.run(self._model.tokenize(text))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        return self._loop.run(self._model.detokenize(tokens))

    def count(self, what: str | Sequence[Message]) -> int:
        """How many tokens a text is, or a conversation with its chat template."""
        return self._loop.run(self._model.count(what))

    def save(self, messages: Sequence[Message]) -> bytes:
        """The state of the model after a conversation, as bytes for `restore`."""
        return self._loop.run(self._model.save(messages))

    def restore(self, state: bytes) -> bool:
        """Puts a saved state back: a call that begins with it computes only the rest. False: no room now."""
        return self._loop.run(self._model.restore(state))

    def set_lora(self, *adapters: Lora) -> None:
        """Applies these adapters, and no others, to calls from now on."""
        self._loop.run(self._model.set_lora(*adapters))

    def statistics(self) -> Statistics:
        """Counters of the engine, and how the model was loaded."""
        return self._loop.run(self._model.statistics())

    def close(self) -> None:
        """Ends all calls, and frees the model."""
        if not self._closed:
            self._closed = True
            try:
                self._loop.run(self._model.close())
            finally:
                self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def _following(pieces: PieceStream) -> Piece | None:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        return None
