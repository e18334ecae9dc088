"""Scheduler: decides what each step of the engine computes. Pure: no llama.cpp, no clock, no thread.

A call is a list of tokens of which the first `computed` are in the KV cache. To read a prompt, to write an answer and
to resume after a preemption is the same work: compute some of the remaining tokens, and sample once the last one is
computed. A call with one token to compute is a writer, one with more is a reader.

The loop of the engine is: `plan(budget)`, apply the edits and rows of the step, `commit(step)`, then `write(call,
token)` or `finish(call)` for each sampled row. If the KV cache had no room for the step, `no_room(step)` replaces
`commit(step)`.

What the slots of the cache hold is kept by `slots.py`, whose turn it is by `fairness.py`.
"""

from collections.abc import Callable, Sequence

from local_models.scheduling.fairness import FairCallQueue
from local_models.scheduling.plan import Row, ScheduledCall, SchedulerLimits, StepPlan
from local_models.scheduling.reading import divide_budget, leave_tails
from local_models.scheduling.slots import SequenceSlots

EXPECTED = 64  # tokens that an answer is expected to have, if it may have so many
RESUME = 16  # free cells that a preempted call waits for, beyond those it needs


def _unit_price(_position: int) -> float:
    return 1.0


class QueueFull(Exception):
    """The queue is full: `SchedulerLimits.queue` calls wait."""


def _slot_of(row: Row) -> int:
    return row.call.slot


class Scheduler:
    """Plans the steps of one engine. The engine's thread alone uses it, and its `slots`."""

    def __init__(self, limits: SchedulerLimits) -> None:
        assert limits.batch >= limits.slots, "every running call writes in every step"
        self.slots = SequenceSlots(limits)
        self.counts = self.slots.counts
        self._running = self.slots.running
        self._turns: FairCallQueue[ScheduledCall] = FairCallQueue()
        self._arrivals = 0
        self._seated: list[ScheduledCall] = []
        #: tokens of a call, and how many of them need no computing -> how many to restore from outside; 0: none
        self.restorable: Callable[[Sequence[int], int], int] | None = None

    # --- state ---

    @property
    def limits(self) -> SchedulerLimits:
        """The limits of now: `reshape` changes them."""
        return self.slots.limits

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._turns)

    @property
    def running(self) -> int:
        """Calls with a slot."""
        return len(self._running)

    @property
    def idle(self) -> bool:
        """Whether no call waits or runs."""
        return not self._running and not len(self._turns)

    @property
    def restoring(self) -> bool:
        """Whether a call waits for a state from outside the KV cache."""
        return any(call.restoring for call in self._running.values())

    @property
    def writers(self) -> int:
        """Calls that write their answer: long prompts must not delay them."""
        running = self._running.values()
        return len([1 for call in running if call.computed + 1 == len(call.tokens) > call.prompt])

    def calls(self) -> list[ScheduledCall]:
        """Returns the running calls."""
        return list(self._running.values())

    # --- a call ---

    def submit(self, call: ScheduledCall) -> None:
        """Adds a call to the queue; raises `QueueFull`."""
        if len(self._turns) >= self.limits.queue:
            self.counts.refused += 1
            raise QueueFull
        self._arrivals += 1
        call.arrival, call.prompt = self._arrivals, len(call.tokens)
        self._turns.arrive(call)

    def write(self, call: ScheduledCall, token: int) -> None:
        """Adds a sampled token to a call."""
        call.tokens.append(token)
        self._charge(call, 1)

    def _charge(self, call: ScheduledCall, tokens: int) -> None:
        call.spent += tokens
        if call.spent > call.charged:
            self._turns.serve(call.agent, call.spent - call.charged)
            call.charged = call.spent

    def finish(self, call: ScheduledCall) -> None:
        """Ends a call: answered, cancelled or failed. Its computed tokens stay for re-use."""
        if call.slot < 0:
            self._turns.withdraw(call)
        else:
            self.slots.vacate(call, keep=True)
        if call.spent != call.charged:
            self._turns.serve(call.agent, call.spent - call.charged)
        self._turns.leave(call)

    def resume(self, call: ScheduledCall) -> None:
        """Adds a call again that `finish` took out before its end: it goes on where it was. The queue takes it."""
        self._arrivals += 1
        call.arrival, call.computed = self._arrivals, 0
        call.preemptions += 1
        self._turns.arrive(call)

    def restored(self, call: ScheduledCall, tokens: int) -> None:
        """Records that the slot of a call that waits for a state has its first tokens now; 0: it has none."""
        call.restoring = 0
        if tokens:
            call.computed = tokens
            self.slots.grow(call.slot, tokens)
            self.slots.count_reuse(call, tokens)

    # --- another cache, and other weights ---

    def reshape(self, slots: int, slot_tokens: int) -> None:
        """Changes the number of slots and their length, in the split layout. Slots that stay keep their tokens; calls
        in those that go are computed again in others."""
        assert not self.limits.unified
        assert 0 < slots <= self.limits.batch
        gone = range(slots, self.limits.slots)
        self.slots.hide(gone)
        for slot in gone:
            if slot in self._running:
                self._preempt(self._running[slot], keep=False)
        self.slots.reshape(slots, slot_tokens)

    def start_over(self) -> None:
        """Drops all computed tokens, because the weights have changed: running calls are computed again."""
        for call in self.calls():
            self._preempt(call, keep=False)
        while self.slots.evict_oldest():
            pass

    # --- admission ---

    def _admit(self) -> None:
        slots, shares = self.slots, self.limits.shares
        while (call := self._turns.peek()) is not None:
            if not slots.idle and not self._preempt_for(call):
                return
            best, length = slots.best_source(call) if shares else (None, 0)
            leader, share = slots.find_leader(call, length) if shares else (None, 0)
            restoring = self.restorable(call.tokens, max(length, share)) if self.restorable else 0
            if restoring:
                length, leader, share = 0, None, 0
            if self.limits.unified:
                own = len(call.tokens) - max(length, share if leader else 0)
                if not slots.make_room(self._cells_needed(call, own), {best} if best is not None else set()):
                    if self._running:
                        return
                    # no running call will make room: the tokens to be re-used must go too
                    best, length = None, 0
                    slots.make_room(self._cells_needed(call, len(call.tokens)), set())
            self._turns.take(call)
            there = max(length, share) if leader else length or restoring
            expected = call.spent + len(call.tokens) - there + min(call.room - call.written, EXPECTED)
            self._turns.serve(call.agent, max(expected - call.charged, 0))
            call.charged = max(expected, call.charged)
            call.restoring = restoring
            slots.place(call, best, length, leader, share)
            self._seated.append(call)

    def _cells_needed(self, call: ScheduledCall, own: int) -> int:
        """Returns the cells for a call's prompt and first token, and for what running calls are yet to read."""
        promised = sum(c.left - (c.share if c.leader else 0) for c in self._running.values())
        patience = (
            RESUME * min(call.preemptions, 4) if self._running else 0
        )  # else it would lose its slot again at once
        return min(own + 1 + promised + patience, self.limits.pool_tokens)

    # --- making room ---

    def _victim(self, below: int | None = None) -> ScheduledCall | None:
        """Returns the running call to preempt: lowest priority, then most service of its agent, then latest."""
        calls = [call for call in self._running.values() if below is None or call.priority < below]
        if not calls:
            return None
        return min(calls, key=lambda call: (call.priority, -self._turns.service(call.agent), -call.arrival))

    def _preempt(self, call: ScheduledCall, *, keep: bool) -> None:
        self.counts.preempted += 1
        self.slots.vacate(call, keep=keep)
        call.preemptions += 1
        call.computed = 0
        self._turns.wait(call)

    def _preempt_for(self, call: ScheduledCall) -> bool:
        """Preempts a running call of lower priority; False: there is none."""
        victim = self._victim(below=call.priority)
        if victim is None:
            return False
        self._preempt(victim, keep=not self.limits.unified)
        return True

    def _fit_writers(self, need: int, step: StepPlan) -> None:
        """Makes room for a token of every writer: evicts kept tokens, then preempts calls, never the last."""
        while self.slots.free_cells < need:
            if self.slots.evict_oldest():
                continue
            if len(self._running) > 1 and (victim := self._victim()) is not None:
                need -= 1 if victim.left == 1 else 0
                self._preempt(victim, keep=False)
                continue
            step.full += self.calls()
            return

    def _free_room(self, step: StepPlan) -> None:
        """Frees room when no call can go on: evicts the oldest tokens, else preempts a call, else ends the only one."""
        if self.slots.evict_oldest():
            return
        victim = self._victim()
        if victim is not None and len(self._running) > 1:
            self._preempt(victim, keep=False)
        else:
            step.full += self.calls()

    # --- the step ---

    def plan(self, budget: float, price: Callable[[int], float] = _unit_price) -> StepPlan:
        """Plans the next step.

        Every writer is in it. Prompt tokens fill it up to `budget`; one at a position costs `price(position)`, 1 by
        default. Unless the budget is 0, readers get at least one token.
        """
        step = StepPlan()
        self._admit()
        for call in self.calls():
            if call.leader is not None and call.leader.computed >= call.share:
                leader, call.leader = call.leader, None
                self.slots.copy(leader.slot, call, call.share)
        limits = self.limits
        if limits.unified:
            self._fit_writers(sum(1 for call in self._running.values() if call.left == 1), step)
        writers, readers = self._writers_and_readers(step.full)
        room = limits.batch - len(writers)
        if limits.unified:
            room = min(room, self.slots.free_cells - len(writers))
        rows = [Row(call, call.computed, 1) for call in writers]
        if readers:
            readers.sort(key=lambda call: (-call.priority, self._turns.service(call.agent), call.arrival))
            given = divide_budget(readers, room, budget, price)
            many = not limits.unified and len(writers) + len(given) >= limits.many
            tails = leave_tails(given, bool(writers)) if many else set()
            for call, count in given.items():
                rows.append(Row(call, call.computed, count))
                if count == 1 and call in tails:
                    step.riders += 1
                else:
                    step.reads.append((call.computed, count))
        rows.sort(key=_slot_of)  # neighbours in the batch are decoded together
        step.rows = rows
        step.tokens = len(writers) + step.riders + sum([count for _, count in step.reads])
        if not rows and not step.full and limits.unified and self._running and not self.restoring:
            self._free_room(step)
        step.edits = self.slots.edits()
        step.seated, self._seated = self._seated, []
        return step

    def _writers_and_readers(self, full: list[ScheduledCall]) -> tuple[list[ScheduledCall], list[ScheduledCall]]:
        """Returns the writers and the readers; calls that wait for a leader or a state are neither."""
        writers: list[ScheduledCall] = []
        readers: list[ScheduledCall] = []
        for call in self._running.values():
            if full and call in full:
                continue
            if len(call.tokens) - call.computed == 1:
                writers.append(call)
            elif call.leader is None and not call.restoring:
                readers.append(call)
        return writers, readers

    def commit(self, step: StepPlan) -> None:
        """Records that a step was computed."""
        unified = self.limits.unified
        for row in step.rows:
            row.call.computed += row.count
            if unified:
                self.slots.grow(row.call.slot, row.count)
            if row.count > 1 or not row.call.written:
                self._charge(row.call, row.count)

    def no_room(self, step: StepPlan) -> None:
        """Records that no row of a step was computed, as the KV cache was full; frees room for the next step."""
        self._free_room(step)

    # --- proposed tokens ---

    def spare(self, step: StepPlan) -> int:
        """Returns how many tokens may be proposed in a step where all running calls write; 0 in another."""
        if len(step.rows) != len(self._running) or step.reads or step.riders or step.full:
            return 0
        room = self.limits.batch - step.tokens
        return min(room, self.slots.free_cells - step.tokens) if self.limits.unified else room

    def accept(self, call: ScheduledCall) -> None:
        """Records that a proposed token is the one that was written: it is in the KV cache already.

        Each is accepted behind its `write`. The caller takes those that were not accepted out of the KV cache.
        """
        call.computed += 1
        self.slots.grow(call.slot, 1)

    # --- steps that are alike ---

    def steady(self, step: StepPlan) -> int:
        """Returns how many steps after a committed and written step are sure to be alike: the same calls, a token each.

        0 where a call reads a prompt, waits for a leader, or could be admitted. Otherwise as many as until a call has
        written all that it may, or the pool is full.
        """
        running = len(self._running)
        if step.reads or step.riders or step.full or not running or len(step.rows) != running or self.slots.edited:
            return 0
        if len(self._turns) and self.slots.idle:  # without one, the plan of this step has found no call to preempt
            return 0
        most = min([row.call.room - row.call.written for row in step.rows])
        return min(most, self.slots.free_cells // running) if self.limits.unified else most

    def repeat(self, step: StepPlan, times: int, written: Sequence[Sequence[int]]) -> None:
        """Records that a step was computed `times` more, and the tokens that each of its calls has written."""
        for row, tokens in zip(step.rows, written, strict=True):
            call = row.call
            call.computed += times
            call.tokens += tokens
            self.slots.grow(call.slot, times)
            self._charge(call, len(tokens))
