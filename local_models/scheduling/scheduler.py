"""Scheduler: decides what each step of the engine computes. Pure: no llama.cpp, no clock, no thread.

A call is a list of tokens of which the first `computed` are in the KV cache. To read a prompt, to write an answer and
to resume after a preemption is the same work: compute some of the remaining tokens, and sample once the last one is
computed. A call with one token to compute is a writer, one with more is a reader.

The loop of the engine is: `plan(budget)`, apply the edits and rows of the step, `commit(step)`, then `write(call,
token)` or `finish(call)` for each sampled row. If the KV cache had no room for the step, `no_room(step)` replaces
`commit(step)`.

Slots are llama.cpp's sequences. A slot keeps the tokens of a finished call for re-use until the slot is needed, the
oldest first. In the split layout each slot has an equal part of the cache; in the unified layout all slots share a
pool, counted by `KvCells`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from local_models.scheduling.fairness import FairCallQueue
from local_models.scheduling.kv_cells import KvCells
from local_models.scheduling.prefix_trie import PrefixTrie

EXPECTED = 64  # tokens that an answer is expected to have, if it may have so many
CARRIED = 512  # tokens that are copied to another slot in the time of computing one
RESUME = 16  # free cells that a preempted call waits for, beyond those it needs
# Tokens that a call reads before another call's turn in the same step. Attention on CPUs is twice as fast from 64 on.
ROUND = 128
# Last tokens of a prompt that are left to the next steps where the others of a step have fewer tokens, in the split
# layout: llama.cpp computes sequences together for as many tokens as all of them have, and a rest in a pass of its own,
# for which all wait. In a step of writers a token of a prompt comes along. With few others, its caller waits longer.
TAIL = 2


def _unit_price(_position: int) -> float:
    return 1.0


class QueueFull(Exception):
    """The queue is full: `SchedulerLimits.queue` calls wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """Limits of a scheduler."""

    slots: int  #: calls that run at once
    slot_tokens: int  #: most tokens of one call
    pool_tokens: int  #: most tokens of all calls
    batch: int  #: most tokens in a step
    queue: int = 4096  #: most waiting calls
    unified: bool = False  #: True: all slots share one pool of cells
    shares: bool = True  #: False: this model cannot drop a part of a text, so no tokens are re-used
    prefix_tokens: int = 1 << 60  #: most tokens kept of finished calls
    worth: int = 24  #: least tokens for which to wait for another call's reading, or to copy within a pool
    many: int = 8  #: least calls in a step of the split layout that do not wait for the last tokens of a prompt


@dataclass(slots=True, eq=False)
class ScheduledCall:
    """One request, from the queue to its end."""

    tokens: list[int]
    room: int  # most tokens that it may write
    agent: str = ""
    priority: int = 0
    arrival: int = 0  # number of the call, in order of arrival
    prompt: int = 0  # tokens of the prompt
    computed: int = 0  # tokens in the KV cache
    reused: int = 0  # tokens of the prompt that were in the KV cache already
    preemptions: int = 0
    slot: int = -1  # -1: it waits
    charged: int = 0  # tokens charged to its agent
    spent: int = 0  # tokens computed or written
    leader: "ScheduledCall | None" = None  # running call that reads the beginning which this call waits to copy
    share: int = 0  # tokens of that beginning
    seeded: bool = False  # a seed was given: while it runs alone, it is answered the same each time
    lag: int = 0  # positions that it takes less than tokens so far, as rows of images may share one; set by the engine
    restoring: int = 0  # tokens that are being restored from outside the KV cache, for which the call waits

    @property
    def left(self) -> int:
        """Tokens that are still to be computed."""
        return len(self.tokens) - self.computed

    @property
    def written(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt


@dataclass(frozen=True, slots=True)
class Copy:
    """Edit: the target slot becomes a copy of the source."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Edit: the slot drops its tokens from `length` on."""

    slot: int
    length: int


@dataclass(slots=True)  # not frozen: that takes three times as long to make, and there is a row for each token
class Row:
    """Tokens of one call in a step: `count` of them from position `start`, then those that are `proposed`.

    Proposed tokens are a guess at what the call writes next. They are computed too, so that each may be found right or
    wrong, and belong to the call once the engine has `accept`ed them.
    """

    call: ScheduledCall
    start: int
    count: int
    proposed: Sequence[int] = ()

    @property
    def samples(self) -> bool:
        """Whether the row computes the last token, so that the next one is sampled."""
        return self.start + self.count == len(self.call.tokens)


@dataclass(slots=True)
class StepPlan:
    """Work of one step: edits of the KV cache, then rows to decode."""

    edits: list[Copy | Keep] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)  # position and count of the tokens of each reader
    riders: int = 0  # readers of a token each, which is computed together with those of the writers
    tokens: int = 0
    proposed: int = 0  # tokens that are proposed in all rows, besides `tokens`
    seated: list[ScheduledCall] = field(default_factory=list)  # calls that were admitted for this step
    full: list[ScheduledCall] = field(default_factory=list)  # calls that must end: they fill the KV cache alone


@dataclass(slots=True)
class Counts:
    """Counts of a scheduler since its start."""

    preempted: int = 0
    reused_tokens: int = 0
    evicted_tokens: int = 0
    displaced: int = 0  # texts worth keeping that went because no slot was empty
    refused: int = 0


def _slot_of(row: Row) -> int:
    return row.call.slot


def _slot_edited(edit: Copy | Keep) -> int:
    return edit.slot if isinstance(edit, Keep) else max(edit.source, edit.target)


class Scheduler:
    """Plans the steps of one engine. The engine's thread alone uses it."""

    def __init__(self, limits: SchedulerLimits) -> None:
        assert limits.batch >= limits.slots, "every running call writes in every step"
        self.limits = limits
        self.counts = Counts()
        self._turns: FairCallQueue[ScheduledCall] = FairCallQueue()
        self._running: dict[int, ScheduledCall] = {}  # slot -> call, in the order of admission
        self._idle: dict[int, int] = dict.fromkeys(range(limits.slots), 0)  # slot -> tokens kept, the oldest first
        self._trie = PrefixTrie()
        self._cells = KvCells()
        self._arrivals = 0
        self._edits: list[Copy | Keep] = []
        self._seated: list[ScheduledCall] = []
        #: tokens of a call, and how many of them need no computing -> how many to restore from outside; 0: none
        self.restorable: Callable[[Sequence[int], int], int] | None = None

    # --- state ---

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
    def kept_tokens(self) -> int:
        """Tokens of finished calls in the KV cache."""
        return sum(self._idle.values())

    @property
    def writers(self) -> int:
        """Calls that write their answer: long prompts must not delay them."""
        running = self._running.values()
        return len([1 for call in running if call.computed + 1 == len(call.tokens) > call.prompt])

    @property
    def used_cells(self) -> int:
        """Cells of the KV cache in use."""
        return self._cells.used

    @property
    def held_tokens(self) -> int:
        """Tokens in the KV cache, of running and finished calls; cells that several share count once."""
        if self.limits.unified:
            return self._cells.used
        return self.kept_tokens + sum(call.computed for call in self._running.values())

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
            self._vacate_slot(call, keep=True)
        if call.spent != call.charged:
            self._turns.serve(call.agent, call.spent - call.charged)
        self._turns.leave(call)

    def _vacate_slot(self, call: ScheduledCall, *, keep: bool) -> None:
        slot = call.slot
        del self._running[slot]
        call.slot, call.leader, call.restoring = -1, None, 0
        kept = call.tokens[: call.computed] if keep and self.limits.shares else []
        self._idle[slot] = len(kept)
        self._trie.put(slot, kept)
        self._promote_follower([other for other in self._running.values() if other.leader is call])
        if not kept:
            self._clear_slot(slot)
        while self.kept_tokens > self.limits.prefix_tokens:
            self._evict_oldest()

    def _promote_follower(self, followers: list[ScheduledCall]) -> None:
        """Replaces a leader that ended: the first follower copies its computed tokens and leads the others."""
        if not followers:
            return
        first, *others = followers
        first.leader = None
        best, length = self._best_source(first)
        if best is not None and self._copy_pays(best, length):
            self._copy(best, first, length)
        for other in others:
            other.leader, other.share = first, min(other.share, first.share)

    def reshape(self, slots: int, slot_tokens: int) -> None:
        """Changes the number of slots and their length, in the split layout. Slots that stay keep their tokens; calls
        in those that go are computed again in others."""
        before = self.limits
        assert not before.unified
        assert 0 < slots <= before.batch
        gone = range(slots, before.slots)
        for slot in gone:  # none of them is a source for another call any more
            self._trie.drop(slot)
        for slot in gone:
            if slot in self._running:
                self._preempt(self._running[slot], keep=False)
            self.counts.evicted_tokens += self._idle.pop(slot)
            self._cells.keep(slot, 0)
        self._edits = [edit for edit in self._edits if _slot_edited(edit) < slots]
        self.limits = replace(before, slots=slots, slot_tokens=slot_tokens, pool_tokens=slots * slot_tokens)
        self._idle |= dict.fromkeys(range(before.slots, slots), 0)

    def evict_longer(self, tokens: int) -> None:
        """Drops the kept texts that have more than so many tokens."""
        for slot, kept in self._idle.items():
            if kept > tokens:
                self.counts.evicted_tokens += kept
                self._clear_slot(slot)

    def holds_any(self, slot: int) -> bool:
        """Whether a slot has computed tokens."""
        return self._computed_tokens(slot) > 0

    def resume(self, call: ScheduledCall) -> None:
        """Adds a call again that `finish` took out before its end: it goes on where it was. The queue takes it."""
        self._arrivals += 1
        call.arrival, call.computed = self._arrivals, 0
        call.preemptions += 1
        self._turns.arrive(call)

    # --- tokens of finished calls ---

    def _clear_slot(self, slot: int) -> None:
        self._trie.drop(slot)
        self._cells.keep(slot, 0)
        self._edits.append(Keep(slot, 0))
        if slot in self._idle:
            self._idle[slot] = 0

    def _evict_oldest(self) -> bool:
        for slot, tokens in self._idle.items():
            if tokens:
                self.counts.evicted_tokens += tokens
                self._clear_slot(slot)
                return True
        return False

    def start_over(self) -> None:
        """Drops all computed tokens, because the weights have changed: running calls are computed again."""
        for call in list(self._running.values()):
            self._preempt(call, keep=False)
        while self._evict_oldest():
            pass

    def adopt(self, tokens: Sequence[int]) -> int:
        """Reserves a slot for a saved state, which is then kept like a finished call; -1: there is no room."""
        slot = next((slot for slot, kept in self._idle.items() if not kept), next(iter(self._idle), -1))
        if slot < 0:
            return -1
        self._clear_slot(slot)
        if self.limits.unified:
            while self._free_cells() < len(tokens) and self._evict_oldest():
                pass
            if self._free_cells() < len(tokens):
                return -1
            self._cells.grow(slot, len(tokens))
        del self._idle[slot]
        self._idle[slot] = len(tokens)
        self._trie.put(slot, tokens)
        return slot

    def edits(self) -> list[Copy | Keep]:
        """Returns and clears the edits since the last plan, for a caller that cannot wait for the next plan."""
        edits, self._edits = self._edits, []
        return edits

    def disown(self, slot: int) -> None:
        """Frees an adopted slot whose state could not be restored."""
        self._clear_slot(slot)

    def kept(self, tokens: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Returns the idle slot that shares most with `tokens`, and all its tokens; `(-1, ())`: none shares any."""
        shared = self._trie.shared(tokens)
        best = max((slot for slot in shared if slot in self._idle), key=lambda slot: shared[slot], default=-1)
        return best, self._trie.text(best)

    def text(self, slot: int) -> tuple[int, ...]:
        """Returns the tokens that a slot holds, or that its call is about to read."""
        return self._trie.text(slot)

    def holds(self, slot: int, tokens: Sequence[int]) -> bool:
        """Whether an idle slot has a text that begins with these tokens."""
        return slot in self._idle and self._trie.text(slot)[: len(tokens)] == tuple(tokens)

    def held(self, slot: int) -> int:
        """Returns the tokens of an idle slot."""
        return self._idle.get(slot, 0)

    def has_room(self, tokens: int) -> bool:
        """Whether the KV cache has room for a state of so many tokens, in the slot of a call that waits for it."""
        return not self.limits.unified or self._free_cells() >= tokens

    def restored(self, call: ScheduledCall, tokens: int) -> None:
        """Records that the slot of a call that waits for a state has its first tokens now; 0: it has none."""
        call.restoring = 0
        if tokens:
            call.computed = tokens
            if self.limits.unified:
                self._cells.grow(call.slot, tokens)
            self._count_reuse(call, tokens)

    def _computed_tokens(self, slot: int) -> int:
        call = self._running.get(slot)
        return call.computed if call else self._idle[slot]

    def _free_cells(self) -> int:
        return self.limits.pool_tokens - self._cells.used

    # --- admission ---

    def _best_source(self, call: ScheduledCall) -> tuple[int | None, int]:
        """Returns the slot with most computed tokens of the call's beginning, without the last token of the call."""
        best, most = None, 0
        for slot, length in self._trie.shared(call.tokens).items():
            usable = min(length, self._computed_tokens(slot), len(call.tokens) - 1)
            # among equals, an idle slot with few other tokens: the call may continue in it
            if slot != call.slot and (usable, slot in self._idle, -self._idle.get(slot, 0)) > (
                most,
                best in self._idle,
                -self._idle.get(best, 0) if best is not None else 0,
            ):
                best, most = slot, usable
        return best, most

    def _find_leader(self, call: ScheduledCall, already: int) -> tuple[ScheduledCall | None, int]:
        """Returns a running call that will compute more of this call's beginning than is computed now."""
        best, most = None, already + self.limits.worth - 1
        for slot, length in self._trie.shared(call.tokens).items():
            other = self._running.get(slot)
            share = min(length, len(call.tokens) - 1)
            if other is not None and other.leader is None and other.computed < share and share > most:
                best, most = other, share
        return best, most

    def _admit(self) -> None:
        while (call := self._turns.peek()) is not None:
            if not self._idle and not self._preempt_for(call):
                return
            best, length = self._best_source(call) if self.limits.shares else (None, 0)
            leader, share = self._find_leader(call, length) if self.limits.shares else (None, 0)
            restoring = self.restorable(call.tokens, max(length, share)) if self.restorable else 0
            if restoring:
                length, leader, share = 0, None, 0
            if self.limits.unified:
                own = len(call.tokens) - max(length, share if leader else 0)
                if not self._make_room(self._cells_needed(call, own), {best} if best is not None else set()):
                    if self._running:
                        return
                    # no running call will make room: the tokens to be re-used must go too
                    best, length = None, 0
                    self._make_room(self._cells_needed(call, len(call.tokens)), set())
            self._turns.take(call)
            there = max(length, share) if leader else length or restoring
            expected = call.spent + len(call.tokens) - there + min(call.room - call.written, EXPECTED)
            self._turns.serve(call.agent, max(expected - call.charged, 0))
            call.charged = max(expected, call.charged)
            call.restoring = restoring
            self._place(call, best, length, leader, share)

    def _cells_needed(self, call: ScheduledCall, own: int) -> int:
        """Returns the cells for a call's prompt and first token, and for what running calls are yet to read."""
        promised = sum(c.left - (c.share if c.leader else 0) for c in self._running.values())
        patience = (
            RESUME * min(call.preemptions, 4) if self._running else 0
        )  # else it would lose its slot again at once
        return min(own + 1 + promised + patience, self.limits.pool_tokens)

    def _place(
        self, call: ScheduledCall, best: int | None, length: int, leader: ScheduledCall | None, share: int
    ) -> None:
        if call.restoring:
            slot = self._choose_slot(call, spare=best)
        elif leader is None and best in self._idle and self._continues_in_place(best, length):
            slot = best
            if self._idle[slot] > length:
                self._edits.append(Keep(slot, length))
                self._cells.keep(slot, length)
                self.counts.evicted_tokens += self._idle[slot] - length
            call.computed = length
            self._count_reuse(call, length)
        else:
            slot = self._choose_slot(call, spare=best)
        del self._idle[slot]
        self._running[slot] = call
        call.slot = slot
        self._seated.append(call)
        if leader is not None:
            call.leader, call.share = leader, share
        elif (
            not call.restoring
            and call.computed == 0
            and best is not None
            and best != slot
            and self._copy_pays(best, length)
        ):
            self._copy(best, call, min(length, self._computed_tokens(best)))
        self._trie.put(slot, call.tokens)

    def _continues_in_place(self, slot: int, length: int) -> bool:
        """Whether to continue in the slot: not if much other text would be lost while an empty slot is there."""
        lost = self._idle[slot] - length
        if not length or lost <= max(ROUND, length // 2):
            return length > 0
        if any(v == 0 for v in self._idle.values()):
            return False
        self.counts.displaced += 1
        return True

    def _choose_slot(self, call: ScheduledCall, spare: int | None) -> int:
        empty = [slot for slot, tokens in self._idle.items() if not tokens]
        if empty:
            return min(empty)  # low numbers: the split layout decodes neighbours together
        slot = next((slot for slot in self._idle if slot != spare), next(iter(self._idle)))
        self.counts.displaced += self._idle[slot] > ROUND  # a short text is soon read again
        self.counts.evicted_tokens += self._idle[slot]
        self._clear_slot(slot)
        return slot

    def _copy_pays(self, source: int, length: int) -> bool:
        """Whether a copy costs less than computing the tokens.

        A copy between split slots copies the whole text. Even one token, with which all prompts begin, is worth the
        copy of a short text.
        """
        return length >= (self.limits.worth if self.limits.unified else 1 + self._computed_tokens(source) // CARRIED)

    def _copy(self, source: int, call: ScheduledCall, length: int) -> None:
        if length <= 0:
            return
        self._edits.append(Copy(source, call.slot))
        self._edits.append(Keep(call.slot, length))
        self._cells.share(source, call.slot, length)
        if not self.limits.unified:  # a copy between split slots shares no cells
            self._cells.keep(call.slot, 0)
            self._cells.grow(call.slot, length)
        call.computed = length
        self._count_reuse(call, length)

    def _count_reuse(self, call: ScheduledCall, length: int) -> None:
        if not call.preemptions:
            call.reused = length
        self.counts.reused_tokens += length

    # --- making room ---

    def _victim(self, below: int | None = None) -> ScheduledCall | None:
        """Returns the running call to preempt: lowest priority, then most service of its agent, then latest."""
        calls = [call for call in self._running.values() if below is None or call.priority < below]
        if not calls:
            return None
        return min(calls, key=lambda call: (call.priority, -self._turns.service(call.agent), -call.arrival))

    def _preempt(self, call: ScheduledCall, *, keep: bool) -> None:
        self.counts.preempted += 1
        self._vacate_slot(call, keep=keep)
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

    def _make_room(self, need: int, spare: set[int]) -> bool:
        """Evicts kept tokens until the pool has room, the oldest first, never those to be re-used; False: too few."""
        while self._free_cells() < need:
            slot = next((s for s, kept in self._idle.items() if kept and s not in spare), None)
            if slot is None:
                return False
            self.counts.evicted_tokens += self._idle[slot]
            self._clear_slot(slot)
        return True

    def _fit_writers(self, need: int, step: StepPlan) -> None:
        """Makes room for a token of every writer: evicts kept tokens, then preempts calls, never the last."""
        while self._free_cells() < need:
            if self._evict_oldest():
                continue
            if len(self._running) > 1 and (victim := self._victim()) is not None:
                need -= 1 if victim.left == 1 else 0
                self._preempt(victim, keep=False)
                continue
            step.full += list(self._running.values())
            return

    # --- the step ---

    def plan(self, budget: float, price: Callable[[int], float] = _unit_price) -> StepPlan:
        """Plans the next step.

        Every writer is in it. Prompt tokens fill it up to `budget`; one at a position costs `price(position)`, 1 by
        default. Unless the budget is 0, readers get at least one token.
        """
        step = StepPlan()
        self._admit()
        for call in list(self._running.values()):
            if call.leader is not None and call.leader.computed >= call.share:
                leader, call.leader = call.leader, None
                self._copy(leader.slot, call, call.share)
        if self.limits.unified:
            self._fit_writers(sum(1 for call in self._running.values() if call.left == 1), step)
        writers, readers = self._writers_and_readers(step.full)
        room = self.limits.batch - len(writers)
        if self.limits.unified:
            room = min(room, self._free_cells() - len(writers))
        rows = [Row(call, call.computed, 1) for call in writers]
        if readers:
            given = self._divide_budget(readers, room, budget, price)
            many = not self.limits.unified and len(writers) + len(given) >= self.limits.many
            tails = self._leave_tails(given, bool(writers)) if many else set()
            for call, count in given.items():
                rows.append(Row(call, call.computed, count))
                if count == 1 and call in tails:
                    step.riders += 1
                else:
                    step.reads.append((call.computed, count))
        rows.sort(key=_slot_of)  # neighbours in the batch are decoded together
        step.rows = rows
        step.tokens = len(writers) + step.riders + sum([count for _, count in step.reads])
        if not rows and not step.full and self.limits.unified and self._running and not self.restoring:
            self._free_room(step)
        step.edits = self.edits()
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

    def _free_room(self, step: StepPlan) -> None:
        """Frees room when no call can go on: evicts the oldest tokens, else preempts a call, else ends the only one."""
        if self._evict_oldest():
            return
        victim = self._victim()
        if victim is not None and len(self._running) > 1:
            self._preempt(victim, keep=False)
        else:
            step.full += list(self._running.values())

    def _divide_budget(
        self, readers: list[ScheduledCall], room: int, budget: float, price: Callable[[int], float]
    ) -> dict[ScheduledCall, int]:
        """Divides the budget in rounds, by priority and least service, so that a short prompt overtakes a long one."""
        readers.sort(key=lambda call: (-call.priority, self._turns.service(call.agent), call.arrival))
        given: dict[ScheduledCall, int] = {}
        reading = readers
        while budget > 0 and room > 0 and reading:
            unfinished = []
            for call in reading:
                had = given.get(call, 0)
                each = price(call.computed + had)
                wished = more = min(ROUND, call.left - had, room)
                if more * each > budget:
                    more = int(budget / each) if given else max(int(budget / each), 1)
                if more <= 0:
                    return given
                given[call] = had + more
                room -= more
                budget -= more * each
                if more < wished or not room:
                    return given
                if had + more < call.left:
                    unfinished.append(call)
            reading = unfinished
        return given

    @staticmethod
    def _leave_tails(given: dict[ScheduledCall, int], beside_writers: bool) -> set[ScheduledCall]:
        """Leaves the last tokens of prompts that have a few more than all others of the step; returns the prompts."""
        least = 1 if beside_writers else min(given.values(), default=0)
        tails = {call for call, count in given.items() if least < count == call.left <= least + TAIL}
        given |= dict.fromkeys(tails, least)
        return tails

    def commit(self, step: StepPlan) -> None:
        """Records that a step was computed."""
        for row in step.rows:
            row.call.computed += row.count
            if self.limits.unified:
                self._cells.grow(row.call.slot, row.count)
            if row.count > 1 or not row.call.written:
                self._charge(row.call, row.count)

    def spare(self, step: StepPlan) -> int:
        """Returns how many tokens may be proposed in a step where all running calls write; 0 in another."""
        if len(step.rows) != len(self._running) or step.tokens != len(step.rows) or step.riders or step.full:
            return 0
        room = self.limits.batch - step.tokens
        return min(room, self._free_cells() - step.tokens) if self.limits.unified else room

    def accept(self, call: ScheduledCall) -> None:
        """Records that a proposed token is the one that was written: it is in the KV cache already.

        Each is accepted behind its `write`. The caller takes those that were not accepted out of the KV cache.
        """
        call.computed += 1
        if self.limits.unified:
            self._cells.grow(call.slot, 1)

    def steady(self, step: StepPlan) -> int:
        """Returns how many steps after a committed and written step are sure to be alike: the same calls, a token each.

        0 where a call reads a prompt, waits for a leader, or could be admitted. Otherwise as many as until a call has
        written all that it may, or the pool is full.
        """
        running = len(self._running)
        if step.reads or step.riders or step.full or not running or len(step.rows) != running or self._edits:
            return 0
        if len(self._turns) and self._idle:  # without an idle slot, the plan of this step has found no call to preempt
            return 0
        most = min([row.call.room - row.call.written for row in step.rows])
        return min(most, self._free_cells() // running) if self.limits.unified else most

    def repeat(self, step: StepPlan, times: int, written: Sequence[Sequence[int]]) -> None:
        """Records that a step was computed `times` more, and the tokens that each of its calls has written."""
        for row, tokens in zip(step.rows, written, strict=True):
            call = row.call
            call.computed += times
            call.tokens += tokens
            if self.limits.unified:
                self._cells.grow(call.slot, times)
            self._charge(call, len(tokens))

    def no_room(self, step: StepPlan) -> None:
        """Records that no row of a step was computed, as the KV cache was full; frees room for the next step."""
        self._free_room(step)

    def calls(self) -> list[ScheduledCall]:
        """Returns the running calls."""
        return list(self._running.values())
