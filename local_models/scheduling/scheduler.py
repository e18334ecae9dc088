"""Decides what every step of the engine computes. Pure: no llama.cpp, no clock, no thread.

A call is a list of tokens of which the first `computed` are in the KV cache. Reading a prompt, writing an answer and
resuming after a preemption are all the same: compute some of the rest, and where the last one is computed, sample.

The engine's loop is: `plan(budget)` -> apply its edits and rows -> `commit(step)` -> `write(call, token)` or
`finish(call)` for the rows that were sampled. Where the KV had no room after all, `no_room(step)` takes the step back.

Slots are llama.cpp's sequences. A slot whose call is over keeps its tokens for re-use until its place is needed, oldest
first. In the split layout a slot has room of its own; in the unified one all share a pool, counted by `KvCells`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from local_models.scheduling.fairness import FairCallQueue
from local_models.scheduling.kv_cells import KvCells
from local_models.scheduling.prefix_trie import PrefixTrie

EXPECTED = 64  # tokens an answer is expected to have, if it may
CARRIED = 512  # tokens of a text that are copied to another slot in the time of computing one, or more
RESUME = 16  # free cells a preempted call waits for, beyond its own
ROUND = 128  # tokens a call reads before the next one's turn in the same step; attention on CPUs is twice as fast from 64 on


def _unit_price(_position: int) -> float:
    return 1.0


class QueueFull(Exception):
    """As many calls wait as may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    slots: int
    slot_tokens: int  # most tokens of one call
    pool_tokens: int  # most tokens of all
    batch: int  # most tokens in a step
    queue: int = 4096
    unified: bool = False
    shares: bool = True  # False: this model cannot forget a part, so nothing is re-used
    prefix_tokens: int = 1 << 60  # most tokens kept of calls that are over
    worth: int = 24  # least tokens for which waiting for another's reading is worth it, and in a pool a copy


@dataclass(slots=True, eq=False)
class ScheduledCall:
    """One request, from the queue to its end."""

    tokens: list[int]
    room: int  # most tokens it may write
    agent: str = ""
    priority: int = 0
    arrival: int = 0
    prompt: int = 0  # how many of the tokens were given
    computed: int = 0
    reused: int = 0
    preemptions: int = 0
    slot: int = -1
    charged: int = 0  # to its agent
    spent: int = 0
    leader: "ScheduledCall | None" = None  # reads the beginning that this call waits to copy
    share: int = 0

    @property
    def left(self) -> int:
        return len(self.tokens) - self.computed

    @property
    def written(self) -> int:
        return len(self.tokens) - self.prompt


@dataclass(frozen=True, slots=True)
class Copy:
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Keep:
    """The slot forgets what it holds from `length` on."""

    slot: int
    length: int


@dataclass(slots=True)  # frozen ones take three times as long to make, and there is one a token
class Row:
    call: ScheduledCall
    start: int
    count: int

    @property
    def samples(self) -> bool:
        return self.start + self.count == len(self.call.tokens)


@dataclass(slots=True)
class StepPlan:
    edits: list[Copy | Keep] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)  # of prompts: from which position, how many
    tokens: int = 0
    seated: list[ScheduledCall] = field(default_factory=list)  # calls that got their place in this step
    full: list[ScheduledCall] = field(
        default_factory=list
    )  # calls that can go no further: the KV is theirs alone, and full


@dataclass(slots=True)
class Counts:
    preempted: int = 0
    reused_tokens: int = 0
    evicted_tokens: int = 0
    refused: int = 0


def _slot_of(row: Row) -> int:
    return row.call.slot


class Scheduler:
    def __init__(self, limits: SchedulerLimits) -> None:
        assert limits.batch >= limits.slots, "every running call writes in every step"
        self.limits = limits
        self.counts = Counts()
        self._turns: FairCallQueue[ScheduledCall] = FairCallQueue()
        self._running: dict[int, ScheduledCall] = {}  # slot -> call, in the order of admission
        self._idle: dict[int, int] = dict.fromkeys(range(limits.slots), 0)  # slot -> tokens kept, oldest first
        self._trie = PrefixTrie()
        self._cells = KvCells()
        self._arrivals = 0
        self._edits: list[Copy | Keep] = []
        self._seated: list[ScheduledCall] = []

    # what it is doing

    @property
    def waiting(self) -> int:
        return len(self._turns)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle(self) -> bool:
        return not self._running and not len(self._turns)

    @property
    def kept_tokens(self) -> int:
        return sum(self._idle.values())

    @property
    def writers(self) -> int:
        """Calls that have begun to answer: what a long prompt must not hold up."""
        running = self._running.values()
        return len([1 for call in running if call.computed + 1 == len(call.tokens) > call.prompt])

    @property
    def used_cells(self) -> int:
        return self._cells.used

    # what happens to a call

    def submit(self, call: ScheduledCall) -> None:
        if len(self._turns) >= self.limits.queue:
            self.counts.refused += 1
            raise QueueFull
        self._arrivals += 1
        call.arrival, call.prompt = self._arrivals, len(call.tokens)
        self._turns.arrive(call)

    def write(self, call: ScheduledCall, token: int) -> None:
        call.tokens.append(token)
        self._spend(call, 1)

    def _spend(self, call: ScheduledCall, tokens: int) -> None:
        call.spent += tokens
        if call.spent > call.charged:
            self._turns.serve(call.agent, call.spent - call.charged)
            call.charged = call.spent

    def finish(self, call: ScheduledCall) -> None:
        """The call is over: answered, cancelled or failed. What it computed stays for re-use."""
        if call.slot < 0:
            self._turns.withdraw(call)
        else:
            self._vacate(call, keep=True)
        if call.spent != call.charged:
            self._turns.serve(call.agent, call.spent - call.charged)
        self._turns.leave(call)

    def _vacate(self, call: ScheduledCall, *, keep: bool) -> None:
        slot = call.slot
        del self._running[slot]
        call.slot, call.leader = -1, None
        kept = call.tokens[: call.computed] if keep and self.limits.shares else []
        self._idle[slot] = len(kept)
        self._trie.put(slot, kept)
        self._orphan([other for other in self._running.values() if other.leader is call])
        if not kept:
            self._forget(slot)
        while self.kept_tokens > self.limits.prefix_tokens:
            self._evict_oldest()

    def _orphan(self, followers: list[ScheduledCall]) -> None:
        """Their leader has gone: the first takes over what it had computed, and leads the others."""
        if not followers:
            return
        first, *others = followers
        first.leader = None
        best, length = self._best(first)
        if best is not None and self._pays(best, length):
            self._copy(best, first, length)
        for other in others:
            other.leader, other.share = first, min(other.share, first.share)

    # what is kept of calls that are over

    def _forget(self, slot: int) -> None:
        self._trie.drop(slot)
        self._cells.keep(slot, 0)
        self._edits.append(Keep(slot, 0))
        if slot in self._idle:
            self._idle[slot] = 0

    def _evict_oldest(self) -> bool:
        for slot, tokens in self._idle.items():
            if tokens:
                self.counts.evicted_tokens += tokens
                self._forget(slot)
                return True
        return False

    def start_over(self) -> None:
        """Nothing that was computed holds any more (the weights have changed): running calls are read again."""
        for call in list(self._running.values()):
            self._preempt(call, keep=False)
        while self._evict_oldest():
            pass

    def adopt(self, tokens: Sequence[int]) -> int:
        """A slot for a saved state that the engine is about to restore; it is kept like a call that is over. -1: none."""
        slot = next((slot for slot, kept in self._idle.items() if not kept), next(iter(self._idle), -1))
        if slot < 0:
            return -1
        self._forget(slot)
        if self.limits.unified:
            while self._free() < len(tokens) and self._evict_oldest():
                pass
            if self._free() < len(tokens):
                return -1
            self._cells.grow(slot, len(tokens))
        del self._idle[slot]
        self._idle[slot] = len(tokens)
        self._trie.put(slot, tokens)
        return slot

    def edits(self) -> list[Copy | Keep]:
        """The edits made since the last plan, for a caller that cannot wait for the next."""
        edits, self._edits = self._edits, []
        return edits

    def disown(self, slot: int) -> None:
        """The state for an adopted slot could not be restored."""
        self._forget(slot)

    def kept(self, tokens: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """The slot that keeps most of these tokens, and all that it holds; (-1, ()) where none keeps any."""
        shared = self._trie.shared(tokens)
        best = max((slot for slot in shared if slot in self._idle), key=lambda slot: shared[slot], default=-1)
        return best, self._trie.text(best)

    def _computed(self, slot: int) -> int:
        call = self._running.get(slot)
        return call.computed if call else self._idle[slot]

    def _free(self) -> int:
        return self.limits.pool_tokens - self._cells.used

    # admission

    def _best(self, call: ScheduledCall) -> tuple[int | None, int]:
        """The slot that has most of the call's beginning computed; the last token is always computed anew."""
        best, most = None, 0
        for slot, length in self._trie.shared(call.tokens).items():
            usable = min(length, self._computed(slot), len(call.tokens) - 1)
            # among equals an idle slot with little else in it: it may be used in place
            if slot != call.slot and (usable, slot in self._idle, -self._idle.get(slot, 0)) > (
                most,
                best in self._idle,
                -self._idle.get(best, 0) if best is not None else 0,
            ):
                best, most = slot, usable
        return best, most

    def _leader(self, call: ScheduledCall, already: int) -> tuple[ScheduledCall | None, int]:
        """A running call that is about to compute more of this one's beginning than there is now."""
        best, most = None, already + self.limits.worth - 1
        for slot, length in self._trie.shared(call.tokens).items():
            other = self._running.get(slot)
            share = min(length, len(call.tokens) - 1)
            if other is not None and other.leader is None and other.computed < share and share > most:
                best, most = other, share
        return best, most

    def _admit(self) -> None:
        while (call := self._turns.peek()) is not None:
            if not self._idle and not self._make_way(call):
                return
            best, length = self._best(call) if self.limits.shares else (None, 0)
            leader, share = self._leader(call, length) if self.limits.shares else (None, 0)
            if self.limits.unified:
                own = len(call.tokens) - max(length, share if leader else 0)
                if not self._make_room(self._need(call, own), {best} if best is not None else set()):
                    if self._running:
                        return
                    # nobody will ever make room, and what was to be re-used is in the way itself
                    best, length = None, 0
                    self._make_room(self._need(call, len(call.tokens)), set())
            self._turns.take(call)
            there = max(length, share) if leader else length
            expected = call.spent + len(call.tokens) - there + min(call.room - call.written, EXPECTED)
            self._turns.serve(call.agent, max(expected - call.charged, 0))
            call.charged = max(expected, call.charged)
            self._seat(call, best, length, leader, share)

    def _need(self, call: ScheduledCall, own: int) -> int:
        """Cells for what it reads and a first token, and for what the others are yet to read and write."""
        promised = sum(c.left - (c.share if c.leader else 0) for c in self._running.values())
        patience = (
            RESUME * min(call.preemptions, 4) if self._running else 0
        )  # so that it does not lose its place at once
        return min(own + 1 + promised + patience, self.limits.pool_tokens)

    def _seat(
        self, call: ScheduledCall, best: int | None, length: int, leader: ScheduledCall | None, share: int
    ) -> None:
        if leader is None and best in self._idle and self._in_place(best, length):
            slot = best
            if self._idle[slot] > length:
                self._edits.append(Keep(slot, length))
                self._cells.keep(slot, length)
                self.counts.evicted_tokens += self._idle[slot] - length
            call.computed = length
            self._reuse(call, length)
        else:
            slot = self._seat_for(call, spare=best)
        del self._idle[slot]
        self._running[slot] = call
        call.slot = slot
        self._seated.append(call)
        if leader is not None:
            call.leader, call.share = leader, share
        elif call.computed == 0 and best is not None and best != slot and self._pays(best, length):
            self._copy(best, call, min(length, self._computed(best)))
        self._trie.put(slot, call.tokens)

    def _in_place(self, slot: int, length: int) -> bool:
        """Continue in the slot itself, unless that destroys much of another's text while an empty slot is there."""
        lost = self._idle[slot] - length
        return length > 0 and (lost <= max(ROUND, length // 2) or not any(v == 0 for v in self._idle.values()))

    def _seat_for(self, call: ScheduledCall, spare: int | None) -> int:
        empty = [slot for slot, tokens in self._idle.items() if not tokens]
        if empty:
            return min(empty)  # low numbers side by side: the split layout decodes neighbours together
        slot = next((slot for slot in self._idle if slot != spare), next(iter(self._idle)))
        self.counts.evicted_tokens += self._idle[slot]
        self._forget(slot)
        return slot

    def _pays(self, source: int, length: int) -> bool:
        """Whether copying so much costs less than computing it. A split slot's text is carried over whole, with what is too
        much; so even one token, with which all prompts begin, is worth it from a short text."""
        return length >= (self.limits.worth if self.limits.unified else 1 + self._computed(source) // CARRIED)

    def _copy(self, source: int, call: ScheduledCall, length: int) -> None:
        if length <= 0:
            return
        self._edits.append(Copy(source, call.slot))
        self._edits.append(Keep(call.slot, length))
        self._cells.share(source, call.slot, length)
        if not self.limits.unified:  # a copy there has cells of its own
            self._cells.keep(call.slot, 0)
            self._cells.grow(call.slot, length)
        call.computed = length
        self._reuse(call, length)

    def _reuse(self, call: ScheduledCall, length: int) -> None:
        if not call.preemptions:
            call.reused = length
        self.counts.reused_tokens += length

    # making room

    def _victim(self, below: int | None = None) -> ScheduledCall | None:
        """The running call that loses its place: lowest priority, then whose agent had most, then the latest."""
        calls = [call for call in self._running.values() if below is None or call.priority < below]
        if not calls:
            return None
        return min(calls, key=lambda call: (call.priority, -self._turns.service(call.agent), -call.arrival))

    def _preempt(self, call: ScheduledCall, *, keep: bool) -> None:
        self.counts.preempted += 1
        self._vacate(call, keep=keep)
        call.preemptions += 1
        call.computed = 0
        self._turns.wait(call)

    def _make_way(self, call: ScheduledCall) -> bool:
        """A place for a call of higher priority than one that runs."""
        victim = self._victim(below=call.priority)
        if victim is None:
            return False
        self._preempt(victim, keep=not self.limits.unified)
        return True

    def _make_room(self, need: int, spare: set[int]) -> bool:
        """Room in the pool from what is kept, the oldest first; what is about to be used goes last."""
        while self._free() < need:
            slot = next((s for s, kept in self._idle.items() if kept and s not in spare), None)
            if slot is None:
                return False
            self.counts.evicted_tokens += self._idle[slot]
            self._forget(slot)
        return True

    def _fit(self, need: int, step: StepPlan) -> None:
        """Room in the pool for a token of every writer: evict, then preempt one at a time, never the last."""
        while self._free() < need:
            if self._evict_oldest():
                continue
            if len(self._running) > 1 and (victim := self._victim()) is not None:
                need -= 1 if victim.left == 1 else 0
                self._preempt(victim, keep=False)
                continue
            step.full += list(self._running.values())
            return

    # the step

    def plan(self, budget: float, price: Callable[[int], float] = _unit_price) -> StepPlan:
        """The next step, with prompt tokens for at most `budget`, of which one at some position costs `price` (by default
        one). Writers are always in it, and where there are readers at least one token of theirs, unless the budget is 0."""
        step = StepPlan()
        self._admit()
        for call in list(self._running.values()):
            if call.leader is not None and call.leader.computed >= call.share:
                leader, call.leader = call.leader, None
                self._copy(leader.slot, call, call.share)
        if self.limits.unified:
            self._fit(sum(1 for call in self._running.values() if call.left == 1), step)
        writers, readers = self._at_work(step.full)
        room = self.limits.batch - len(writers)
        if self.limits.unified:
            room = min(room, self._free() - len(writers))
        rows = [Row(call, call.computed, 1) for call in writers]
        if readers:
            for call, count in self._rounds(readers, room, budget, price).items():
                rows.append(Row(call, call.computed, count))
                step.reads.append((call.computed, count))
        rows.sort(key=_slot_of)  # neighbours in the batch are decoded together
        step.rows = rows
        step.tokens = len(writers) + sum([count for _, count in step.reads])
        if not rows and not step.full and self.limits.unified and self._running:
            self._unstick(step)
        step.edits = self.edits()
        step.seated, self._seated = self._seated, []
        return step

    def _at_work(self, full: list[ScheduledCall]) -> tuple[list[ScheduledCall], list[ScheduledCall]]:
        """Who has one token to compute, and who more; the others wait for somebody's reading."""
        writers: list[ScheduledCall] = []
        readers: list[ScheduledCall] = []
        for call in self._running.values():
            if full and call in full:
                continue
            if len(call.tokens) - call.computed == 1:
                writers.append(call)
            elif call.leader is None:
                readers.append(call)
        return writers, readers

    def _unstick(self, step: StepPlan) -> None:
        """Nobody can go on: the oldest of what is kept goes, or one loses its place; a call alone cannot be served."""
        if self._evict_oldest():
            return
        victim = self._victim()
        if victim is not None and len(self._running) > 1:
            self._preempt(victim, keep=False)
        else:
            step.full += list(self._running.values())

    def _rounds(
        self, readers: list[ScheduledCall], room: int, budget: float, price: Callable[[int], float]
    ) -> dict[ScheduledCall, int]:
        """Shares the budget out in rounds, higher priority and less served agents first: a short prompt passes a long one."""
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

    def commit(self, step: StepPlan) -> None:
        """The step was computed."""
        for row in step.rows:
            row.call.computed += row.count
            if self.limits.unified:
                self._cells.grow(row.call.slot, row.count)
            if row.count > 1 or not row.call.written:
                self._spend(row.call, row.count)

    def steady(self, step: StepPlan) -> int:
        """How many more steps are sure to be like this one, which is committed and written: the same calls with a token
        each. Until one of them has written all it may, if nobody reads, waits for another's reading, or could be seated."""
        running = len(self._running)
        if step.reads or step.full or not running or len(step.rows) != running or self._edits:
            return 0
        if len(self._turns) and self._idle:  # with no idle slot the step's own plan has found that nobody makes way
            return 0
        most = min([row.call.room - row.call.written for row in step.rows])
        return min(most, self._free() // running) if self.limits.unified else most

    def repeat(self, step: StepPlan, times: int, written: Sequence[Sequence[int]]) -> None:
        """The step was computed so many times more, and each of its calls has written these tokens meanwhile."""
        for row, tokens in zip(step.rows, written, strict=True):
            call = row.call
            call.computed += times
            call.tokens += tokens
            if self.limits.unified:
                self._cells.grow(call.slot, times)
            self._spend(call, len(tokens))

    def no_room(self, step: StepPlan) -> None:
        """The KV was fuller than counted; nothing of the step's rows was computed. Frees one thing, so that the next fits."""
        self._unstick(step)

    def calls(self) -> list[ScheduledCall]:
        return list(self._running.values())
