"""A stream of pieces: an async iterator, and a context manager that ends the call when it is left early."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from local_models.backend import Deliver, RunningCall
from local_models.errors import LocalModelError, WorkerDied
from local_models.prompts.tools import ToolCallParser
from local_models.replies import Piece, Reply, TokenScore

Begin = Callable[[Deliver], Awaitable[RunningCall]]
GRACE = 30.0  # seconds after its deadline for which a call waits for the engine to say so


class PieceStream(AsyncIterator[Piece]):
    """Begins at the first `async for` or `async with`. What is not read yet waits here: at most one answer."""

    def __init__(self, begin: Begin, within: float, talk: ToolCallParser | None) -> None:
        self._begin, self._within, self._talk = begin, within, talk
        self._items: deque[Piece | LocalModelError] = deque()
        self._news: asyncio.Future[None] | None = None  # what the reader waits on, while there is nothing
        self._begun = False
        self._silence: asyncio.TimerHandle | None = None
        self._running: RunningCall | None = None
        self._over = False
        self._told: Callable[[], None] | None = None

    def _deliver(self, item: Piece | LocalModelError) -> None:
        self._items.append(item)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
        elif self._told is not None:
            told, self._told = self._told, None
            told()

    async def _ensure(self) -> None:
        if not self._begun:
            self._listen()
            self._running = await self._begin(self._deliver)

    def _listen(self) -> None:
        self._begun = True
        # The engine keeps the deadline of the call; this is for an engine that keeps nothing any more.
        loop = asyncio.get_running_loop()
        self._silence = loop.call_later(self._within + GRACE, _report_silence, weakref.ref(self))

    def begin_at_once(self, begin: Callable[[Deliver], RunningCall | None], news: Callable[[], None]) -> bool:
        """Begins by `begin`, if that says that it could. `news` is called on the loop when the first piece, or an error, is here."""
        running = begin(self._deliver)
        if running is None:
            return False
        self._listen()
        self._running, self._told = running, news
        return True

    @property
    def waiting(self) -> bool:
        """Whether another piece is here already, so that asking for it takes no time; an error that comes next is none."""
        return bool(self._items) and not self._over and isinstance(self._items[0], Piece)

    async def __anext__(self) -> Piece:
        if self._over:
            raise StopAsyncIteration
        try:
            await self._ensure()
            return await self._next()
        except BaseException:  # also CancelledError: the engine must not go on for nobody
            self.cancel()
            raise

    async def batch(self) -> list[Piece]:
        """All that is here, and at least one piece; [] at the end. For whoever passes a stream on."""
        if self._over:
            return []
        try:
            await self._ensure()
            return [await self._next(), *self.here()]
        except BaseException:
            self.cancel()
            raise

    def here(self) -> list[Piece]:
        """What has come already."""
        pieces: list[Piece] = []
        while self.waiting:
            pieces.append(self._taken())
        return pieces

    async def _next(self) -> Piece:
        while not self._items:
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        return self._taken()

    def _taken(self) -> Piece:
        item = self._items.popleft()
        if isinstance(item, LocalModelError):
            raise item
        if item.finish:
            self._over = True
            self._rest()
        return item if self._talk is None else self._with_calls(item, self._talk)

    def _with_calls(self, piece: Piece, talk: ToolCallParser) -> Piece:
        text = talk.feed(piece.text)
        if piece.finish is None:
            return Piece(text=text, tokens=piece.tokens, scores=piece.scores)
        text += talk.end()
        calls = tuple(talk.calls)
        finish = "tool_calls" if calls and piece.finish == "stop" else piece.finish
        return Piece(
            text=text,
            tokens=piece.tokens,
            scores=piece.scores,
            finish=finish,
            usage=piece.usage,
            tool_calls=calls,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._ensure()
        except BaseException:
            self.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends the call; nothing more comes."""
        finished, self._over = self._over, True
        if self._running is not None and not finished:
            self._running.cancel()
        self._items.clear()
        self._rest()

    def _rest(self) -> None:
        """Nothing is expected any more."""
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    async def aclose(self) -> None:
        self.cancel()

    def __del__(self) -> None:
        if not self._over and self._running is not None:
            self._running.cancel()


def _report_silence(stream: "weakref.ref[PieceStream]") -> None:
    waiting = stream()
    if waiting is not None:
        waiting._deliver(WorkerDied("the engine of this model does not answer", hint="load the model again"))


async def collect_reply(stream: PieceStream) -> Reply:
    """The answer of a stream, in one."""
    texts: list[str] = []
    tokens: list[int] = []
    scores: list[TokenScore] = []
    async for piece in stream:
        texts.append(piece.text)
        tokens += piece.tokens
        scores += piece.scores
        if piece.finish is not None:
            assert piece.usage is not None
            return Reply(
                text="".join(texts),
                finish=piece.finish,
                usage=piece.usage,
                tokens=tuple(tokens),
                scores=tuple(scores),
                tool_calls=piece.tool_calls,
            )
    raise WorkerDied("the stream ended without an end")
