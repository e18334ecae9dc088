"""SyncModel: a LocalModel for code without an event loop; every call runs on one background loop."""

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


class _LoopThread:
    """An event loop on its own thread, for one model."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-model-loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # KeyboardInterrupt too: nobody reads the result
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncModel:
    """Blocking front of a `LocalModel`: `with SyncModel.load("tiny") as model: model.chat(messages).text`.

    Methods, options and errors are those of `LocalModel`. It may be used from several threads.
    """

    def __init__(self, model: LocalModel, loop: _LoopThread) -> None:
        self._model, self._loop = model, loop
        self._closed = False

    @classmethod
    def load(cls, model: str | os.PathLike[str] = "tiny", options: LoadOptions | None = None) -> Self:
        """Loads a GGUF file, `gguf:PATH`, or a name of the catalogue. Nothing is downloaded."""
        loop = _LoopThread()
        try:
            return cls(loop.run(LocalModel.load(model, options)), loop)
        except BaseException:
            loop.close()
            raise

    def chat(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        """Returns the whole answer to messages."""
        return self._loop.run(self._model.chat(messages, options, **changes))

    def complete(
        self, prompt: str | Sequence[int], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Reply:
        """Continues a bare text, or tokens, and returns the whole answer; control tokens in a text are plain text."""
        return self._loop.run(self._model.complete(prompt, options, **changes))

    def stream(
        self, messages: Sequence[Message], options: Generate = DEFAULTS, **changes: Unpack[GenerateChanges]
    ) -> Iterator[Piece]:
        """Yields the answer piece by piece; leaving the iteration early ends the call."""
        pieces = self._model.stream(messages, options, **changes)
        try:
            while (piece := self._loop.run(_next_piece(pieces))) is not None:
                yield piece
        finally:
            self._loop.run(pieces.aclose())

    def embed(self, texts: str | Sequence[str | Sequence[int]]) -> list[list[float]]:
        """Returns one vector of length 1 for each text, which may be given as its tokens."""
        return self._loop.run(self._model.embed(texts))

    def rerank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Returns how well each document answers the query, and the tokens that this took."""
        return self._loop.run(self._model.rerank(query, documents))

    def tokenize(self, text: str) -> list[int]:
        """Returns the tokens of a text, without the mark that begins a prompt."""
        return self._loop.run(self._model.tokenize(text))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens."""
        return self._loop.run(self._model.detokenize(tokens))

    def count(self, what: str | Sequence[Message]) -> int:
        """Counts the tokens of a text, or of the prompt that messages render to."""
        return self._loop.run(self._model.count(what))

    def save(self, messages: Sequence[Message]) -> bytes:
        """Returns the KV state of a conversation."""
        return self._loop.run(self._model.save(messages))

    def restore(self, state: bytes) -> bool:
        """Puts a saved state back; False: there is no room now."""
        return self._loop.run(self._model.restore(state))

    def set_lora(self, *adapters: Lora) -> None:
        """Replaces the adapters of all calls."""
        self._loop.run(self._model.set_lora(*adapters))

    def statistics(self) -> Statistics:
        """Returns settings and counts of the engine."""
        return self._loop.run(self._model.statistics())

    def close(self) -> None:
        """Ends running calls, frees the memory, and ends the loop's thread. May be called again."""
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


async def _next_piece(pieces: PieceStream) -> Piece | None:
    try:
        return await anext(pieces)
    except StopAsyncIteration:
        return None
