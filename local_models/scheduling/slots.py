"""Slots: what each of llama.cpp's sequences holds, and the edits that bring it there. Pure.

A slot has a running call, or keeps the tokens of a finished one for re-use until it is needed, the oldest first. In the
split layout each slot has an equal part of the cache; in the unified layout all slots share a pool, counted by
`KvCells`.
"""

from collections.abc import Sequence
from dataclasses import replace

from local_models.scheduling.kv_cells import KvCells
from local_models.scheduling.plan import Copy, Counts, Keep, ScheduledCall, SchedulerLimits
from local_models.scheduling.prefix_trie import PrefixTrie
from local_models.scheduling.reading import ROUND

CARRIED = 512  # tokens that are copied to another slot in the time of computing one


def _slot_edited(edit: Copy | Keep) -> int:
    return edit.slot if isinstance(edit, Keep) else max(edit.source, edit.target)


class SequenceSlots:
    """The slots of one engine. `running` has their calls, in the order of admission; the scheduler reads it."""

    def __init__(self, limits: SchedulerLimits) -> None:
        self.limits = limits
        self.counts = Counts()
        self.running: dict[int, ScheduledCall] = {}
        self.idle: dict[int, int] = dict.fromkeys(range(limits.slots), 0)
        """Slot -> tokens kept, of slots without a call, the oldest first."""
        self._trie = PrefixTrie()
        self._cells = KvCells()
        self._edits: list[Copy | Keep] = []

    # --- tokens and cells ---

    @property
    def kept_tokens(self) -> int:
        """Tokens of finished calls in the KV cache."""
        return sum(self.idle.values())

    @property
    def used_cells(self) -> int:
        """Cells of the KV cache in use."""
        return self._cells.used

    @property
    def free_cells(self) -> int:
        """Cells of a pool that are free."""
        return self.limits.pool_tokens - self._cells.used

    @property
    def held_tokens(self) -> int:
        """Tokens in the KV cache, of running and finished calls; cells that several share count once."""
        if self.limits.unified:
            return self._cells.used
        return self.kept_tokens + sum(call.computed for call in self.running.values())

    def grow(self, slot: int, tokens: int) -> None:
        """Counts the cells of tokens that were computed."""
        if self.limits.unified:
            self._cells.grow(slot, tokens)

    def has_room(self, tokens: int) -> bool:
        """Whether the KV cache has room for a state of so many tokens, in the slot of a call that waits for it."""
        return not self.limits.unified or self.free_cells >= tokens

    @property
    def edited(self) -> bool:
        """Whether there are edits since the last plan."""
        return bool(self._edits)

    def edits(self) -> list[Copy | Keep]:
        """Returns and clears the edits since the last plan."""
        edits, self._edits = self._edits, []
        return edits

    # --- texts ---

    def text(self, slot: int) -> tuple[int, ...]:
        """Returns the tokens that a slot holds, or that its call is about to read."""
        return self._trie.text(slot)

    def kept(self, tokens: Sequence[int]) -> tuple[int, tuple[int, ...]]:
        """Returns the idle slot that shares most with `tokens`, and all its tokens; `(-1, ())`: none shares any."""
        shared = self._trie.shared(tokens)
        best = max((slot for slot in shared if slot in self.idle), key=lambda slot: shared[slot], default=-1)
        return best, self._trie.text(best)

    def holds(self, slot: int, tokens: Sequence[int]) -> bool:
        """Whether an idle slot has a text that begins with these tokens."""
        return slot in self.idle and self._trie.text(slot)[: len(tokens)] == tuple(tokens)

    def held(self, slot: int) -> int:
        """Returns the tokens of an idle slot."""
        return self.idle.get(slot, 0)

    def holds_any(self, slot: int) -> bool:
        """Whether a slot has computed tokens."""
        return self._computed_tokens(slot) > 0

    def _computed_tokens(self, slot: int) -> int:
        call = self.running.get(slot)
        return call.computed if call else self.idle[slot]

    def best_source(self, call: ScheduledCall) -> tuple[int | None, int]:
        """Returns the slot with most computed tokens of the call's beginning, without the last token of the call."""
        best, most = None, 0
        for slot, length in self._trie.shared(call.tokens).items():
            usable = min(length, self._computed_tokens(slot), len(call.tokens) - 1)
            # among equals, an idle slot with few other tokens: the call may continue in it
            if slot != call.slot and (usable, slot in self.idle, -self.idle.get(slot, 0)) > (
                most,
                best in self.idle,
                -self.idle.get(best, 0) if best is not None else 0,
            ):
                best, most = slot, usable
        return best, most

    def find_leader(self, call: ScheduledCall, already: int) -> tuple[ScheduledCall | None, int]:
        """Returns a running call that will compute more of this call's beginning than is computed now."""
        best, most = None, already + self.limits.worth - 1
        for slot, length in self._trie.shared(call.tokens).items():
            other = self.running.get(slot)
            share = min(length, len(call.tokens) - 1)
            if other is not None and other.leader is None and other.computed < share and share > most:
                best, most = other, share
        return best, most

    # --- a call in a slot ---

    def place(
        self, call: ScheduledCall, best: int | None, length: int, leader: ScheduledCall | None, share: int
    ) -> None:
        """Gives a call a slot, with the first `length` tokens of slot `best`, or those that `leader` is to share."""
        if call.restoring:
            slot = self._choose(call, spare=best)
        elif leader is None and best in self.idle and self._continues_in_place(best, length):
            slot = best
            if self.idle[slot] > length:
                self._edits.append(Keep(slot, length))
                self._cells.keep(slot, length)
                self.counts.evicted_tokens += self.idle[slot] - length
            call.computed = length
            self.count_reuse(call, length)
        else:
            slot = self._choose(call, spare=best)
        del self.idle[slot]
        self.running[slot] = call
        call.slot = slot
        if leader is not None:
            call.leader, call.share = leader, share
        elif (
            not call.restoring
            and call.computed == 0
            and best is not None
            and best != slot
            and self._copy_pays(best, length)
        ):
            self.copy(best, call, min(length, self._computed_tokens(best)))
        self._trie.put(slot, call.tokens)

    def _continues_in_place(self, slot: int, length: int) -> bool:
        """Whether to continue in the slot: not if much other text would be lost while an empty slot is there."""
        lost = self.idle[slot] - length
        if not length or lost <= max(ROUND, length // 2):
            return length > 0
        if any(v == 0 for v in self.idle.values()):
            return False
        self.counts.displaced += 1
        return True

    def _choose(self, call: ScheduledCall, spare: int | None) -> int:
        empty = [slot for slot, tokens in self.idle.items() if not tokens]
        if empty:
            return min(empty)  # low numbers: the split layout decodes neighbours together
        slot = next((slot for slot in self.idle if slot != spare), next(iter(self.idle)))
        self.counts.displaced += self.idle[slot] > ROUND  # a short text is soon read again
        self.counts.evicted_tokens += self.idle[slot]
        self.clear(slot)
        return slot

    def _copy_pays(self, source: int, length: int) -> bool:
        """Whether a copy costs less than computing the tokens.

        A copy between split slots copies the whole text. Even one token, with which all prompts begin, is worth the
        copy of a short text.
        """
        return length >= (self.limits.worth if self.limits.unified else 1 + self._computed_tokens(source) // CARRIED)

    def copy(self, source: int, call: ScheduledCall, length: int) -> None:
        """Gives a call the first tokens of another slot."""
        if length <= 0:
            return
        self._edits.append(Copy(source, call.slot))
        self._edits.append(Keep(call.slot, length))
        self._cells.share(source, call.slot, length)
        if not self.limits.unified:  # a copy between split slots shares no cells
            self._cells.keep(call.slot, 0)
            self._cells.grow(call.slot, length)
        call.computed = length
        self.count_reuse(call, length)

    def count_reuse(self, call: ScheduledCall, length: int) -> None:
        """Counts tokens that a call need not compute."""
        if not call.preemptions:
            call.reused = length
        self.counts.reused_tokens += length

    def vacate(self, call: ScheduledCall, *, keep: bool) -> None:
        """Takes a call out of its slot; `keep`: its computed tokens stay for re-use."""
        slot = call.slot
        del self.running[slot]
        call.slot, call.leader, call.restoring = -1, None, 0
        kept = call.tokens[: call.computed] if keep and self.limits.shares else []
        self.idle[slot] = len(kept)
        self._trie.put(slot, kept)
        self._promote_follower([other for other in self.running.values() if other.leader is call])
        if not kept:
            self.clear(slot)
        while self.kept_tokens > self.limits.prefix_tokens:
            self.evict_oldest()

    def _promote_follower(self, followers: list[ScheduledCall]) -> None:
        """Replaces a leader that ended: the first follower copies its computed tokens and leads the others."""
        if not followers:
            return
        first, *others = followers
        first.leader = None
        best, length = self.best_source(first)
        if best is not None and self._copy_pays(best, length):
            self.copy(best, first, length)
        for other in others:
            other.leader, other.share = first, min(other.share, first.share)

    # --- room ---

    def clear(self, slot: int) -> None:
        """Drops the tokens of a slot."""
        self._trie.drop(slot)
        self._cells.keep(slot, 0)
        self._edits.append(Keep(slot, 0))
        if slot in self.idle:
            self.idle[slot] = 0

    def evict_oldest(self) -> bool:
        """Drops the kept text that was left first; False: there is none."""
        for slot, tokens in self.idle.items():
            if tokens:
                self.counts.evicted_tokens += tokens
                self.clear(slot)
                return True
        return False

    def evict_longer(self, tokens: int) -> None:
        """Drops the kept texts that have more than so many tokens."""
        for slot, kept in self.idle.items():
            if kept > tokens:
                self.counts.evicted_tokens += kept
                self.clear(slot)

    def make_room(self, need: int, spare: set[int]) -> bool:
        """Evicts kept tokens until the pool has room, the oldest first, never those to be re-used; False: too few."""
        while self.free_cells < need:
            slot = next((s for s, kept in self.idle.items() if kept and s not in spare), None)
            if slot is None:
                return False
            self.counts.evicted_tokens += self.idle[slot]
            self.clear(slot)
        return True

    def adopt(self, tokens: Sequence[int]) -> int:
        """Reserves a slot for a saved state, which is then kept like a finished call; -1: there is no room."""
        slot = next((slot for slot, kept in self.idle.items() if not kept), next(iter(self.idle), -1))
        if slot < 0:
            return -1
        self.clear(slot)
        if self.limits.unified:
            while self.free_cells < len(tokens) and self.evict_oldest():
                pass
            if self.free_cells < len(tokens):
                return -1
            self._cells.grow(slot, len(tokens))
        del self.idle[slot]
        self.idle[slot] = len(tokens)
        self._trie.put(slot, tokens)
        return slot

    # --- another number of slots ---

    def hide(self, slots: range) -> None:
        """Makes slots no source for a call any more, as they are about to go."""
        for slot in slots:
            self._trie.drop(slot)

    def reshape(self, slots: int, slot_tokens: int) -> None:
        """Changes the number of slots and their length. Those that go run no call."""
        before = self.limits
        for slot in range(slots, before.slots):
            self.counts.evicted_tokens += self.idle.pop(slot)
            self._cells.keep(slot, 0)
        self._edits = [edit for edit in self._edits if _slot_edited(edit) < slots]
        self.limits = replace(before, slots=slots, slot_tokens=slot_tokens, pool_tokens=slots * slot_tokens)
        self.idle |= dict.fromkeys(range(before.slots, slots), 0)
