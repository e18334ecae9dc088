"""Keeping: which states of prompts are saved and restored, and both of it between steps.

A state is restored where that is quicker than to compute its tokens, and saved where it costs a small part of what
computing them did; both are measured. llama.cpp reads and writes a state on the engine's thread alone, in one copy of
memory. All else (disk, checks, cutting) is on threads of `KeptPrompts`. While streams run, the copies between two steps
together take a quarter of a step; a state that takes longer is saved when no stream runs, or is lost, which is counted.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from local_models.errors import LocalModelError
from local_models.kept.index import BLOCK
from local_models.kept.prompts import KeptCounts, KeptPrompts
from local_models.kept.state import Bytes, same_cells
from local_models.llama import Context
from local_models.scheduling.plan import ScheduledCall, StepPlan
from local_models.scheduling.scheduler import Scheduler

logger = logging.getLogger("local_models")
LEAST = 2 * BLOCK  # tokens that are worth the work
RESTORE_SHARE = 0.8  # a restore pays if it takes less than this part of the computing
SAVE_SHARE = 0.05  # a save pays if it takes less than this part of the computing that it may spare
LATENCY, OVERHEAD = 0.0005, 0.0001  # seconds of a restore, and of a save, beside its bytes
FIRST_RATES = 1e-9, 5e-10  # seconds a byte of a restore, and of a save, before anything was measured
RISE, FALL = 0.1, 0.5  # weight of a new measurement: one that took long may have waited for another program
IN_FLIGHT = 64 << 20  # bytes of states that are put together before the engine takes them
PART_OF_STEP = 0.25
SHORTEST_STEP = 0.005  # seconds: nobody notices a shorter pause


def _average(known: float, measured: float) -> float:
    return known + (RISE if measured > known else FALL) * (measured - known)


@dataclass(slots=True)
class _Arrival:
    """State that was put together for a call."""

    call: ScheduledCall
    state: Bytes | None
    tokens: int
    seconds: float
    streams: int
    size: int  # bytes that were expected
    round: int


class Keeping:
    """The engine's side of kept prompts; used by its thread alone."""

    def __init__(self, kept: KeptPrompts, step_seconds: float, command: Callable[[Callable[[], None]], None]) -> None:
        self.kept = kept
        self.hits = self.restored_tokens = 0
        self._command = command
        self._token_bytes = kept.token_bytes
        self._step_seconds = step_seconds
        self._token_seconds = 0.0  # seconds of computing a prompt token; 0: not measured yet
        self._restore_rate, self._save_rate = FIRST_RATES
        self._round = 0  # another one since the adapters have changed
        self._orders: deque[ScheduledCall] = deque()
        self._ordered_bytes = 0
        self._arrivals: deque[_Arrival] = deque()
        self._unsaved: dict[int, list[int]] = {}  # slot -> tokens of a prompt that is to be saved from it
        self._proven = self._off = False

    @property
    def pending(self) -> bool:
        """Whether there is something to do between two steps."""
        return bool(self._arrivals or self._unsaved)

    # --- restoring ---

    def restorable(self, tokens: Sequence[int], there: int) -> int:
        """Returns how many tokens of a call are to be restored, where `there` of them need no computing; 0: none."""
        if self._off:
            return 0
        count = min(self.kept.covered(tokens), (len(tokens) - 1) // BLOCK * BLOCK)
        if count - there < LEAST:
            return 0
        cost = LATENCY + count * self._token_bytes * self._restore_rate
        if self._token_seconds and cost > RESTORE_SHARE * (count - there) * self._token_seconds:
            self._restore_rate *= 0.98  # what was slow once is tried again in the end
            return 0
        return count

    def order(self, calls: Sequence[ScheduledCall], context: Context) -> None:
        """Orders the states of calls that were just seated and wait for one."""
        self._orders += [call for call in calls if call.restoring]
        self._send_orders(context)

    def _send_orders(self, context: Context) -> None:
        while self._orders:
            size = self._orders[0].restoring * self._token_bytes
            if self._ordered_bytes and self._ordered_bytes + size > IN_FLIGHT:
                return
            call = self._orders.popleft()
            if call.restoring:
                self._ordered_bytes += size
                self._order(call, context.streams, size)

    def _order(self, call: ScheduledCall, streams: int, size: int) -> None:
        number, command, arrivals = self._round, self._command, self._arrivals

        def then(state: Bytes | None, tokens: int, seconds: float) -> None:
            arrival = _Arrival(call, state, tokens, seconds, streams, size, number)
            try:
                command(lambda: arrivals.append(arrival))
            except LocalModelError:
                pass  # the engine has ended

        self.kept.restore(call.tokens, call.restoring, streams, then)

    def _take(self, arrival: _Arrival, context: Context, scheduler: Scheduler) -> None:
        """Puts a state into the slot of its call, which goes on from there; without one it computes all."""
        call, state = arrival.call, arrival.state
        self._ordered_bytes -= arrival.size
        if not call.restoring or call.slot < 0 or arrival.round != self._round:
            return  # it has ended, lost its slot, or would get what belongs to other weights
        if state is not None and arrival.streams != context.streams:  # the cache has grown meanwhile
            self._orders.appendleft(call)
            return
        started = time.perf_counter()
        right = state is not None and not self._off and scheduler.slots.has_room(arrival.tokens)
        if right and state is not None:
            right = context.put_state(call.slot, state) and context.length(call.slot) == arrival.tokens
            if right and not self._proven:
                right = self._proven = self._prove(context, call.slot, state)
            if not right:
                context.keep(call.slot, 0)
                self._give_up()
        scheduler.restored(call, arrival.tokens if right else 0)
        if right:
            self.hits += 1
            self.restored_tokens += arrival.tokens
            taken = arrival.seconds + time.perf_counter() - started - LATENCY
            self._restore_rate = _average(self._restore_rate, max(taken, 0.0) / (arrival.tokens * self._token_bytes))

    def _prove(self, context: Context, slot: int, state: Bytes) -> bool:
        """Whether llama.cpp gives a state back as it was put in: asked once."""
        return same_cells(context.state(slot), state)

    def _give_up(self) -> None:
        if not self._off:
            self._off = True
            self._unsaved.clear()
            logger.warning("prompts of this model are not kept: llama.cpp does not take their states back as they were")

    # --- saving ---

    def ended(self, call: ScheduledCall, slot: int) -> None:
        """Notes that a call has ended, whose text stays in a slot for now: its prompt is saved if that is worth it."""
        prompt = call.tokens[: min(call.prompt, call.computed)]
        before = self._unsaved.pop(slot, [])
        if before and prompt[: len(before)] != before:
            self.kept.not_saved()
        if self._off or len(prompt) < LEAST:
            return
        new = self.kept.missing(prompt)
        if new >= LEAST and self._pays(new, call.computed):
            self._unsaved[slot] = prompt

    def _pays(self, new: int, length: int) -> bool:
        return not self._token_seconds or self._cost(length) <= SAVE_SHARE * new * self._token_seconds

    def _cost(self, length: int) -> float:
        return OVERHEAD + length * self._token_bytes * self._save_rate

    def _save(self, slot: int, context: Context, scheduler: Scheduler) -> None:
        prompt = self._unsaved.pop(slot)
        if not scheduler.slots.holds(slot, prompt):
            self.kept.not_saved()
            return
        if self.kept.missing(prompt) < LEAST:
            return  # another call with the same beginning ended with this one
        started = time.perf_counter()
        try:
            state = context.state(slot)
        except MemoryError:
            self.kept.not_saved()
            return
        taken = time.perf_counter() - started - OVERHEAD
        self._save_rate = _average(self._save_rate, max(taken, 0.0) / max(len(state), 1))
        self.kept.save(prompt, state)

    # --- between two steps ---

    def work(self, context: Context, scheduler: Scheduler, *, hurried: bool) -> None:
        """Takes states that have arrived and saves those of calls that have ended: for a part of a step while streams
        run, for a step where somebody waits (`hurried`)."""
        if not self.pending and not self._orders:
            return
        bound = self._step_seconds if hurried else float("inf")
        if scheduler.writers:
            bound = PART_OF_STEP * self._step_seconds
        started, first = time.perf_counter(), True
        while self._arrivals and (first or time.perf_counter() - started < bound):
            self._take(self._arrivals.popleft(), context, scheduler)
            first = False
        if self._orders:
            self._send_orders(context)
        for slot in list(self._unsaved):
            left = bound - (time.perf_counter() - started)
            tokens = scheduler.slots.held(slot)
            if self._cost(tokens) <= left and self.kept.has_room(tokens * self._token_bytes):
                self._save(slot, context, scheduler)

    def close(self, context: Context, scheduler: Scheduler, *, save: bool) -> None:
        """Saves what is still to be saved, before the context is freed, and waits until it is written."""
        try:
            for slot in list(self._unsaved) if save else ():
                self._save(slot, context, scheduler)
        except Exception:  # the context is to be freed all the same
            logger.exception("a prompt was not kept")
        self.kept.close()

    # --- measured by the engine ---

    def record_step(self, step: StepPlan, seconds: float) -> None:
        """Records the time of a step."""
        read = sum([count for _, count in step.reads])
        others = step.tokens - read
        if read >= BLOCK and read > others:
            each = seconds / (read + others)
            self._token_seconds = _average(self._token_seconds, each) if self._token_seconds else each
        elif not read:
            self._step_seconds = _average(self._step_seconds, max(seconds, SHORTEST_STEP))

    def start_over(self, key: Callable[[], str]) -> None:
        """Forgets all that is kept: it belongs to other weights."""
        self._round += 1
        self._unsaved.clear()
        self.kept.start_over(key)

    def statistics(self) -> dict[str, int]:
        """Returns the counts of `Statistics`."""
        counts: KeptCounts = self.kept.counts()
        return {
            "kept_hits": self.hits,
            "kept_tokens": self.restored_tokens,
            "kept_saved_tokens": counts.saved_tokens,
            "kept_unsaved": counts.unsaved,
            "kept_memory_bytes": counts.memory_bytes,
            "kept_disk_bytes": counts.disk_bytes,
            "kept_refused": counts.refused,
        }
