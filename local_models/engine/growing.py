"""Growing: the engine's side of a cache that grows. It asks for another context, and goes on in it.

`growth.py` decides whether there is to be one, and makes it.
"""

import logging
from contextlib import suppress

from local_models.engine.cache import KvCache
from local_models.engine.calls import OpenCalls
from local_models.engine.command_thread import CommandThread
from local_models.engine.compute_threads import ComputeThreads
from local_models.engine.growth import Growth
from local_models.errors import LocalModelError
from local_models.llama import Context

logger = logging.getLogger("local_models")


class GrowingCache:
    """Growth of the cache of one engine, on its thread."""

    def __init__(
        self, growth: Growth, cache: KvCache, calls: OpenCalls, threads: ComputeThreads, thread: CommandThread
    ) -> None:
        self._growth, self._cache, self._calls = growth, cache, calls
        self._threads, self._thread = threads, thread

    @property
    def making(self) -> bool:
        """Whether a context is being made now, which takes a core."""
        return self._growth.making

    def consider(self) -> None:
        """Asks for a wider context where the calls, or the texts that are kept, need one."""
        scheduler, calls, growth = self._cache.scheduler, self._calls, self._growth
        needed, length = scheduler.running + calls.waiting, calls.long.needed()
        slots = scheduler.limits.slots
        if length:
            needed = max([needed, *(slot + 1 for slot in range(slots) if scheduler.slots.holds_any(slot))])
        growth.consider(slots, needed, scheduler.counts.displaced, self._offer, length, self._go_on_as_it_is)
        if needed > slots and not length and growth.may_shorten(slots):
            growth.shorten(slots, needed, calls.most_needed(), self._offer, self._go_on_as_it_is)
        if growth.making:
            self._cache.context.use_threads(self._threads.few)

    # --- from the thread that makes a context ---

    def _offer(self, wider: Context) -> None:
        """Takes a wider context; raises the error of `require_open`."""
        self._thread.command(lambda: self._adopt(wider))

    def _go_on_as_it_is(self) -> None:
        """Lets the calls that wait for longer sequences go on without."""
        with suppress(LocalModelError):  # closed: they are told
            self._thread.command(lambda: self._calls.resume_long(waits=False))

    # --- on the engine's thread ---

    def _adopt(self, wider: Context) -> None:
        """Goes on in another context, with what the sequences hold; what cannot be taken over is computed again.

        Where it refuses the adapters, the engine goes on in its present one.
        """
        if self._thread.closed:
            wider.close()
            return
        cache, calls = self._cache, self._calls
        if any(len(call.tokens) >= wider.sequence_tokens for call in calls.tickets):  # longer since it was begun
            wider.close()
            self._growth.put_off()
            return
        try:
            wider.use_threads(self._threads.chosen)
            taken = cache.take_over(wider)
        except LocalModelError as error:
            wider.close()
            self._growth.declined()
            calls.resume_long(waits=False)
            slots = cache.scheduler.limits.slots
            logger.warning("a local model stays at %d sequences: %s", slots, error)
            return
        except BaseException:
            wider.close()
            raise
        cache.go_on_in(wider, min(wider.sequence_tokens, calls.long.longest), taken=taken)
        calls.measure_rooms()
        self._growth.adopted()
        calls.resume_long(waits=True)
