"""Connects one event loop with the engine: submits calls, delivers pieces, many at a time."""

import asyncio
import logging
import threading
import weakref

from local_models.backend import Take
from local_models.engine.engine import Engine
from local_models.engine.tickets import Item, Ticket
from local_models.errors import LocalModelError
from local_models.replies import Piece

logger = logging.getLogger("local_models")


class LoopSide:
    """Side of one event loop: submits its calls and delivers their pieces on it.

    Calls of one turn of the loop are submitted together, so that they share their first step. Submitted one by one, the
    engine would start the first alone and add the others later. The loop is referenced weakly: a model that many
    short-lived loops have used would keep them all alive otherwise.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop, self._engine = weakref.ref(loop), engine
        self._gathered: list[Ticket] = []
        self._gathered_tokens = 0
        engine.watch_thread(threading.get_ident())

    def submit(self, ticket: Ticket) -> None:
        """Submits a call at the end of this turn of the loop, or at once when a whole batch has gathered."""
        self._engine.thread.require_open()
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._submit_gathered)
        self._gathered.append(ticket)
        self._gathered_tokens += len(ticket.tokens)
        if self._gathered_tokens >= self._engine.batch:  # a whole step of prompts: waiting for more gains nothing
            self._submit_gathered()

    def _submit_gathered(self) -> None:
        gathered, self._gathered, self._gathered_tokens = self._gathered, [], 0
        if not gathered:
            return
        try:
            self._engine.submit(gathered)
        except LocalModelError as error:  # closed in between
            for ticket in gathered:
                if ticket.sampler is not None:
                    ticket.sampler.close()
                ticket.deliver(error)

    def __call__(self, items: list[tuple[Ticket, Item]]) -> None:
        """Delivers the pieces of a step on the loop; called on the engine's thread."""
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._deliver, items)
        except RuntimeError:  # the loop is closed, and so are its callers
            pass

    @staticmethod
    def _deliver(items: list[tuple[Ticket, Item]]) -> None:
        for ticket, item in items:
            ticket.deliver(item)


class DirectPost:
    """Offers the pieces of one call on the engine's thread, which saves a wake-up of the loop and a switch of threads.

    After the first pieces that `take` refuses, those and all later ones go to the loop, so that their order stays.
    """

    __slots__ = ("_loop_side", "_take")

    def __init__(self, loop_side: LoopSide, take: Take) -> None:
        self._loop_side = loop_side
        self._take: Take | None = take

    def __call__(self, items: list[tuple[Ticket, Item]]) -> None:
        if self._take is not None:
            pieces = [item for _, item in items if isinstance(item, Piece)]
            if len(pieces) < len(items) or not self._offer(self._take, pieces):
                self._take = None
            elif pieces[-1].finish is None:
                return
            else:  # the stream on the loop waits for the last piece
                self._take, items = None, items[-1:]
        self._loop_side(items)

    @staticmethod
    def _offer(take: Take, pieces: list[Piece]) -> bool:
        try:
            return take(pieces)
        except Exception:  # an error here must not end the engine; the loop delivers the pieces and meets it too
            logger.exception("pieces of a local model could not be passed on")
            return False
