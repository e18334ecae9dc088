"""The scheduler against a model of the KV cache: whatever happens, what a slot holds is what its call believes."""

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.scheduling.plan import Copy, Keep, ScheduledCall, SchedulerLimits, StepPlan
from local_models.scheduling.scheduler import QueueFull, Scheduler


@dataclass
class Kv:
    """What llama.cpp would hold: every slot a list of (cell, token); a copy shares cells, or has its own when split."""

    limits: SchedulerLimits
    slots: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    cells: int = 0
    last: StepPlan = field(default_factory=StepPlan)
    propose: Callable[[StepPlan, int], None] | None = None  # adds proposed tokens to a step with room for so many

    def fresh(self) -> int:
        self.cells += 1
        return self.cells

    def apply(self, edit: Copy | Keep) -> None:
        if isinstance(edit, Keep):
            del self.slots.setdefault(edit.slot, [])[edit.length :]
            return
        source = self.slots.get(edit.source, [])
        self.slots[edit.target] = [(cell if self.limits.unified else self.fresh(), token) for cell, token in source]

    def used(self) -> int:
        return len({cell for held in self.slots.values() for cell, _ in held})

    def run(self, scheduler: Scheduler, budget: int) -> list[ScheduledCall]:
        """One step; gives the calls that were sampled, after checking all that must be true of the step."""
        step = self.last = scheduler.plan(budget)
        for edit in step.edits:
            self.apply(edit)
        spare = scheduler.spare(step)
        assert spare <= 0 or all(row.samples for row in step.rows), "tokens would be proposed in the middle of a prompt"
        if self.propose is not None and spare > 0:
            self.propose(step, spare)
        assert step.tokens + step.proposed <= self.limits.batch
        seen: set[int] = set()
        for row in step.rows:
            slot = row.call.slot
            assert slot not in seen
            seen.add(slot)
            held = [token for _, token in self.slots.setdefault(slot, [])]
            assert held == row.call.tokens[: row.start], "the slot holds another text than its call"
            new = row.call.tokens[row.start : row.start + row.count]
            assert len(new) == row.count > 0
            self.slots[slot] += [(self.fresh(), token) for token in [*new, *row.proposed]]
            assert len(self.slots[slot]) <= self.limits.slot_tokens
        if self.limits.unified:
            assert self.used() <= self.limits.pool_tokens
        sampled = [row.call for row in step.rows if row.samples]
        scheduler.commit(step)
        if step.proposed:
            return sampled  # what is in the cache is known once they are verified
        if self.limits.unified:
            assert scheduler.slots.used_cells == scheduler.slots.held_tokens == self.used()
        else:
            assert scheduler.slots.held_tokens == sum(map(len, self.slots.values()))
        for call in step.full:
            scheduler.finish(call)
        return sampled


LIMITS = st.builds(
    lambda slots, tokens, unified, worth, kept, share, many: SchedulerLimits(
        slots=slots,
        slot_tokens=tokens,
        pool_tokens=tokens + 10 if unified else tokens * slots,
        batch=16,
        queue=1000,
        unified=unified,
        worth=worth,
        prefix_tokens=kept,
        shares=share,
        many=many,
    ),
    st.integers(1, 5),
    st.integers(24, 60),
    st.booleans(),
    st.integers(1, 6),
    st.sampled_from([0, 30, 1000]),
    st.sampled_from([True, True, False]),
    st.integers(1, 6),
)
WORK = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(1, 8), st.integers(0, 3), st.integers(0, 2)),
    min_size=1,
    max_size=25,
)


def calls_of(
    work: list[tuple[int, int, int, int, int]], rng: random.Random, limits: SchedulerLimits, longer: int = 1
) -> list[ScheduledCall]:
    """Calls of some families of prompts that fit a slot, with answers that are `longer` times as long."""
    calls = [
        ScheduledCall(
            tokens=[family] * min(length, 12) + [rng.randint(0, 2) for _ in range(length)],
            room=longer * room,
            agent=f"a{agent}",
            priority=priority if rng.random() < 0.3 else 0,
        )
        for family, length, room, agent, priority in work
    ]
    return [call for call in calls if len(call.tokens) + call.room <= limits.slot_tokens]


@settings(max_examples=300, deadline=None)
@given(LIMITS, WORK, st.integers(0, 10**6), st.integers(1, 16))
def test_every_call_ends_with_its_own_text(
    limits: SchedulerLimits, work: list[tuple[int, int, int, int, int]], seed: int, budget: int
) -> None:
    rng = random.Random(seed)
    scheduler, kv = Scheduler(limits), Kv(limits)
    to_come = calls_of(work, rng, limits)
    alive: list[ScheduledCall] = []
    total, ended, steps = len(to_come), 0, 0
    while to_come or alive:
        steps += 1
        assert steps < 20_000, "no progress"
        while to_come and rng.random() < 0.6:
            call = to_come.pop()
            scheduler.submit(call)
            alive.append(call)
        if alive and rng.random() < 0.03:
            gone = rng.choice(alive)
            scheduler.finish(gone)
            alive.remove(gone)
            ended += 1
        if rng.random() < 0.01:
            scheduler.start_over()
        if not limits.unified and rng.random() < 0.03:  # another cache, with more or fewer, and longer, sequences
            scheduler.reshape(rng.randint(1, 6), limits.slot_tokens + rng.randint(0, 9))
            kv.limits = scheduler.limits
            kv.slots = {slot: held for slot, held in kv.slots.items() if slot < kv.limits.slots}
        if alive and rng.random() < 0.03:  # a call that waits for that
            held = rng.choice(alive)
            scheduler.finish(held)
            scheduler.resume(held)
        for call in kv.run(scheduler, budget):
            scheduler.write(call, 7 + call.written)
            if call.written >= call.room:
                assert call.tokens[call.prompt :] == [7 + i for i in range(call.room)]
                scheduler.finish(call)
                alive.remove(call)
                ended += 1
        assert all(call.slot >= 0 or call.computed == 0 for call in alive)
    assert ended == total
    assert scheduler.idle
    assert scheduler.slots.kept_tokens <= limits.prefix_tokens


@settings(max_examples=200, deadline=None)
@given(LIMITS, WORK, st.integers(0, 10**6), st.floats(0.3, 1.0))
def test_every_call_ends_with_its_own_text_whatever_is_proposed_for_it(
    limits: SchedulerLimits, work: list[tuple[int, int, int, int, int]], seed: int, right: float
) -> None:
    """Some proposed tokens are what the call writes and some are not; calls end, are cancelled and are preempted."""
    rng = random.Random(seed)

    def propose(step: StepPlan, spare: int) -> None:
        for row in step.rows:
            most = min(row.call.room - row.call.written - 1, spare - step.proposed, rng.randint(0, 4))
            at = row.call.written
            row.proposed = [7 + at + n if rng.random() < right else 99 for n in range(max(most, 0))]
            step.proposed += len(row.proposed)

    scheduler, kv = Scheduler(limits), Kv(limits, propose=propose)
    to_come = calls_of(work, rng, limits, longer=2)
    alive: list[ScheduledCall] = []
    ended, total, steps = 0, len(to_come), 0
    while to_come or alive:
        steps += 1
        assert steps < 20_000, "no progress"
        while to_come and rng.random() < 0.6:
            alive.append(call := to_come.pop())
            scheduler.submit(call)
        if alive and rng.random() < 0.03:
            scheduler.finish(gone := rng.choice(alive))
            alive.remove(gone)
            ended += 1
        if rng.random() < 0.01:
            scheduler.start_over()
        sampled = kv.run(scheduler, rng.choice((1, 3, 16)))
        for row in kv.last.rows:
            call, slot = row.call, row.call.slot
            if call not in sampled:
                continue
            for proposed in (*row.proposed, -1):
                scheduler.write(call, token := 7 + call.written)
                if call.written >= call.room or rng.random() < 0.02:  # by its room, or by a text that ends it
                    assert call.tokens[call.prompt :] == [7 + n for n in range(call.written)]
                    scheduler.finish(call)
                    alive.remove(call)
                    ended += 1
                    break
                if token != proposed:
                    break
                scheduler.accept(call)
            del kv.slots[slot][call.computed :]  # what was not accepted
            assert call not in alive or call.left == 1
        for edit in scheduler.slots.edits():
            kv.apply(edit)
        held = kv.used() if limits.unified else sum(map(len, kv.slots.values()))
        assert scheduler.slots.held_tokens == held
    assert ended == total
    assert scheduler.idle


def test_nothing_is_proposed_beside_a_prompt_and_no_more_than_there_is_room_for() -> None:
    limits = SchedulerLimits(slots=3, slot_tokens=64, pool_tokens=30, batch=16, unified=True)
    scheduler, kv = Scheduler(limits), Kv(limits)
    for first in range(2):
        scheduler.submit(ScheduledCall(tokens=[first, 1, 2, 3], room=20))
    for call in kv.run(scheduler, 16):
        assert not scheduler.spare(kv.last), "prompts are read"
        scheduler.write(call, 7)
    step = scheduler.plan(16)
    assert scheduler.spare(step) == min(16 - 2, 30 - 8 - 2)
    scheduler.commit(step)
    for row in step.rows:
        scheduler.write(row.call, 7)
    scheduler.submit(ScheduledCall(tokens=[5] * 15, room=20))
    step = scheduler.plan(0)
    assert len(step.rows) == 2
    assert not scheduler.spare(step), "a third call waits for its prompt to be read"
    scheduler.commit(step)
    for row in step.rows:
        scheduler.write(row.call, 7)
    step = scheduler.plan(1)
    assert [row.count for row in step.rows] == [1, 1, 1]
    assert not scheduler.spare(step), "it reads its prompt, if only a token"


def state(scheduler: Scheduler) -> object:
    """All that decides what it does next."""
    running = [(slot, call.arrival, call.tokens, call.computed) for slot, call in scheduler._running.items()]
    agents = sorted({call.agent for call in scheduler.calls()})
    served = [(agent, scheduler._turns.service(agent)) for agent in agents]
    return running, served, scheduler.slots.used_cells, scheduler.waiting, scheduler.slots.idle


@settings(max_examples=150, deadline=None)
@given(LIMITS, WORK, st.integers(0, 10**6))
def test_steps_that_are_sure_are_those_that_would_be_planned(
    limits: SchedulerLimits, work: list[tuple[int, int, int, int, int]], seed: int
) -> None:
    rng = random.Random(seed)
    scheduler, kv = Scheduler(limits), Kv(limits)
    for family, length, room, agent, priority in work:
        tokens = [family] * min(length, 12) + [rng.randint(0, 2) for _ in range(length)]
        if len(tokens) + 4 * room <= limits.slot_tokens:
            scheduler.submit(ScheduledCall(tokens=tokens, room=4 * room, agent=f"a{agent}", priority=priority))
    steps = 0
    while not scheduler.idle:
        steps += 1
        assert steps < 20_000, "no progress"
        for call in kv.run(scheduler, 16):
            scheduler.write(call, 7)
            if call.written >= call.room:
                scheduler.finish(call)
        sure = scheduler.steady(kv.last)
        if not sure:
            continue
        one_by_one, times = copy.deepcopy(scheduler), rng.randint(1, sure)
        for number in range(times):
            planned = one_by_one.plan(16)
            assert (planned.edits, planned.seated, planned.full) == ([], [], [])
            assert [(row.call.arrival, row.start, row.count) for row in planned.rows] == [
                (row.call.arrival, row.call.computed + number, 1) for row in kv.last.rows
            ]
            one_by_one.commit(planned)
            for row in planned.rows:
                one_by_one.write(row.call, 8 + number)
        for row in kv.last.rows:
            text = row.call.tokens[row.call.computed :] + [8 + number for number in range(times - 1)]
            kv.slots[row.call.slot] += [(kv.fresh(), token) for token in text]
        scheduler.repeat(kv.last, times, [[8 + number for number in range(times)]] * len(kv.last.rows))
        assert state(scheduler) == state(one_by_one)
        for call in scheduler.calls():
            if call.written >= call.room:
                scheduler.finish(call)


def test_nothing_is_sure_while_somebody_may_get_a_place_or_reads() -> None:
    limits = SchedulerLimits(slots=2, slot_tokens=64, pool_tokens=128, batch=8)
    scheduler, kv = Scheduler(limits), Kv(limits)
    scheduler.submit(ScheduledCall(tokens=[1, 2, 3], room=20))
    for call in kv.run(scheduler, 8):
        assert not scheduler.steady(kv.last), "it read"
        scheduler.write(call, 7)
    for call in kv.run(scheduler, 8):
        scheduler.write(call, 7)
    assert scheduler.steady(kv.last) == 18
    scheduler.submit(ScheduledCall(tokens=[4, 5, 6], room=20))
    assert not scheduler.steady(kv.last), "there is a place for the one that waits"
    for call in kv.run(scheduler, 8):
        scheduler.write(call, 7)
    for call in kv.run(scheduler, 8):
        scheduler.write(call, 7)
    scheduler.submit(ScheduledCall(tokens=[7, 8, 9], room=20))
    assert scheduler.steady(kv.last) == 16, "a third one waits for either to end"


def steps_of(lengths: list[int], *, unified: bool = False) -> list[list[int]]:
    """Tokens of each row, in the first steps of calls with prompts of these lengths and nothing in common."""
    count = len(lengths)
    limits = SchedulerLimits(slots=count, slot_tokens=64, pool_tokens=64 * count, batch=512, unified=unified)
    scheduler, kv = Scheduler(limits), Kv(limits)
    for number, length in enumerate(lengths):
        scheduler.submit(ScheduledCall(tokens=[number * 64 + at for at in range(length)], room=20))
    found = []
    for _ in range(4):
        for call in kv.run(scheduler, 1000):
            scheduler.write(call, 7)
        found.append([row.count for row in kv.last.rows])
        assert kv.last.tokens == sum(found[-1])
        assert not (kv.last.riders and scheduler.steady(kv.last)), "they have not read all of their prompts"
    return found


def test_prompts_of_nearly_one_length_are_read_as_far_as_all_of_them_go() -> None:
    """llama.cpp computes each rest in a pass of its own, and single sequences between others apart from one another."""
    assert steps_of([10, 10, 9, 10, 8, 9, 9, 10]) == [[8] * 8, [1] * 8, [1] * 8, [1] * 8]


def test_a_prompt_that_is_much_longer_is_read_at_once() -> None:
    assert steps_of([8] * 7 + [11]) == [[8] * 7 + [11], [1] * 8, [1] * 8, [1] * 8]


def test_few_calls_and_those_of_a_pool_are_read_at_once() -> None:
    assert steps_of([9, 8, 8])[0] == [9, 8, 8]
    assert sorted(steps_of([9] + [8] * 7, unified=True)[0]) == [8] * 7 + [9]


def drive(scheduler: Scheduler, kv: Kv, calls: list[ScheduledCall], budget: int = 64) -> None:
    for call in calls:
        scheduler.submit(call)
    while not scheduler.idle:
        for call in kv.run(scheduler, budget):
            scheduler.write(call, 1)
            if call.written >= call.room:
                scheduler.finish(call)


@pytest.mark.parametrize("unified", [True, False])
def test_a_common_beginning_is_computed_once_though_all_start_together(unified: bool) -> None:
    limits = SchedulerLimits(slots=16, slot_tokens=256, pool_tokens=4096, batch=128, unified=unified)
    scheduler, kv = Scheduler(limits), Kv(limits)
    calls = [ScheduledCall(tokens=[9] * 200 + [n, n, n], room=4) for n in range(16)]
    drive(scheduler, kv, calls)
    assert scheduler.counts.reused_tokens == 15 * 200
    assert sum(call.reused for call in calls) == 15 * 200


def test_one_common_token_is_carried_to_a_split_slot_from_a_short_text_only() -> None:
    limits = SchedulerLimits(slots=4, slot_tokens=2048, pool_tokens=8192, batch=2048)
    scheduler, kv = Scheduler(limits), Kv(limits)
    drive(scheduler, kv, [ScheduledCall(tokens=[1, *range(10, 20)], room=1)])
    calls = [ScheduledCall(tokens=[1, n, n], room=8) for n in (30, 31)]
    drive(scheduler, kv, calls)
    assert [call.reused for call in calls] == [1, 1]
    scheduler, kv = Scheduler(limits), Kv(limits)
    drive(scheduler, kv, [ScheduledCall(tokens=[1, *range(10, 1500)], room=1)])
    drive(scheduler, kv, calls := [ScheduledCall(tokens=[1, n, n], room=8) for n in (30, 31)])
    assert [call.reused for call in calls] == [0, 0], "carrying all of a long text costs more than it saves"


def test_a_kept_text_that_would_be_used_again_does_not_hold_its_user_up() -> None:
    """It is the only thing in the pool, the pool has no room for the rest beside it, and nobody runs who could make
    any."""
    limits = SchedulerLimits(slots=1, slot_tokens=46, pool_tokens=56, batch=16, unified=True, worth=4)
    scheduler, kv = Scheduler(limits), Kv(limits)
    drive(scheduler, kv, [ScheduledCall(tokens=[5] * 4 + [1] * 34, room=2)])
    assert scheduler.slots.kept_tokens == 39
    scheduler.submit(call := ScheduledCall(tokens=[5] * 4 + [2] * 30, room=4))
    for _ in range(20):
        if call.written < call.room:
            for sampled in kv.run(scheduler, 16):
                scheduler.write(sampled, 1)
    assert call.written == call.room


def test_when_the_one_who_reads_for_all_is_cancelled_another_goes_on_from_there() -> None:
    limits = SchedulerLimits(slots=4, slot_tokens=256, pool_tokens=1024, batch=64)
    scheduler, kv = Scheduler(limits), Kv(limits)
    calls = [ScheduledCall(tokens=[9] * 200 + [n], room=1) for n in range(4)]
    for call in calls:
        scheduler.submit(call)
    kv.run(scheduler, 64)
    assert [call.computed for call in calls] == [64, 0, 0, 0]
    scheduler.finish(calls[0])
    kv.run(scheduler, 64)
    assert [call.computed for call in calls[1:]] == [128, 0, 0]


def test_agents_are_served_alike_however_much_they_ask() -> None:
    limits = SchedulerLimits(slots=4, slot_tokens=64, pool_tokens=256, batch=64, shares=False)
    scheduler, kv, written = Scheduler(limits), Kv(limits), {"many": 0, "few": 0}
    for n in range(200):
        scheduler.submit(ScheduledCall(tokens=[n, 1, 2, 3], room=8, agent="many"))
    scheduler.submit(ScheduledCall(tokens=[1, 2, 3, 4], room=8, agent="few"))
    for _ in range(200):
        for call in kv.run(scheduler, 64):
            scheduler.write(call, 1)
            written[call.agent] += 1
            if call.written >= call.room:
                scheduler.finish(call)
                if call.agent == "few":  # it always asks again, but only then
                    for _again in range(2 if written["few"] < 20 else 1):
                        scheduler.submit(ScheduledCall(tokens=[1, 2, 3, 4], room=8, agent="few"))
    assert 0.5 < written["few"] / written["many"] < 2


def test_a_higher_priority_takes_the_place_of_a_lower_and_the_lower_ends_too() -> None:
    limits = SchedulerLimits(slots=1, slot_tokens=64, pool_tokens=64, batch=64)
    scheduler, kv = Scheduler(limits), Kv(limits)
    low, high = ScheduledCall(tokens=[1, 2, 3], room=9), ScheduledCall(tokens=[4, 5, 6], room=3, priority=1)
    scheduler.submit(low)
    for call in kv.run(scheduler, 8):
        scheduler.write(call, 1)
    scheduler.submit(high)
    order: list[ScheduledCall] = []
    while not scheduler.idle:
        for call in kv.run(scheduler, 8):
            scheduler.write(call, 1)
            if call.written >= call.room:
                order.append(call)
                scheduler.finish(call)
    assert order == [high, low]
    assert low.preemptions == 1
    assert scheduler.counts.preempted == 1


def test_a_short_prompt_passes_a_long_one() -> None:
    limits = SchedulerLimits(slots=2, slot_tokens=4096, pool_tokens=8192, batch=128)
    scheduler, kv = Scheduler(limits), Kv(limits)
    long, short = ScheduledCall(tokens=[1] * 2000, room=1), ScheduledCall(tokens=[2] * 30, room=1, agent="b")
    scheduler.submit(long)
    kv.run(scheduler, 128)
    scheduler.submit(short)
    assert kv.run(scheduler, 128) == [short]
    assert long.computed == 128 + 98


def test_a_full_queue_refuses_and_says_so() -> None:
    scheduler = Scheduler(SchedulerLimits(slots=1, slot_tokens=64, pool_tokens=64, batch=8, queue=2))
    for _ in range(2):
        scheduler.submit(ScheduledCall(tokens=[1], room=1))
    with pytest.raises(QueueFull):
        scheduler.submit(ScheduledCall(tokens=[1], room=1))
    assert scheduler.counts.refused == 1
    assert scheduler.waiting == 2
