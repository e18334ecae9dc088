"""The scheduler against a model of the KV cache: whatever happens, what a slot holds is what its call believes."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.scheduler import Call, Copy, Keep, Limits, QueueFull, Scheduler


@dataclass
class Kv:
    """What llama.cpp would hold: every slot a list of (cell, token); a copy shares cells, or has its own when split."""

    limits: Limits
    slots: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    cells: int = 0

    def fresh(self) -> int:
        self.cells += 1
        return self.cells

    def apply(self, edit: Copy | Keep) -> None:
        if isinstance(edit, Keep):
            del self.slots.setdefault(edit.slot, [])[edit.length :]
            return
        source = self.slots.get(edit.source, [])
        self.slots[edit.target] = [
            (cell if self.limits.unified else self.fresh(), token) for cell, token in source
        ]

    def used(self) -> int:
        return len({cell for held in self.slots.values() for cell, _ in held})

    def run(self, scheduler: Scheduler, budget: int) -> list[Call]:
        """One step; gives the calls that were sampled, after checking all that must be true of the step."""
        step = scheduler.plan(budget)
        for edit in step.edits:
            self.apply(edit)
        assert step.tokens <= self.limits.batch
        seen: set[int] = set()
        for row in step.rows:
            slot = row.call.slot
            assert slot not in seen
            seen.add(slot)
            held = [token for _, token in self.slots.setdefault(slot, [])]
            assert held == row.call.tokens[: row.start], "the slot holds another text than its call"
            new = row.call.tokens[row.start : row.start + row.count]
            assert len(new) == row.count > 0
            self.slots[slot] += [(self.fresh(), token) for token in new]
            assert len(self.slots[slot]) <= self.limits.slot_tokens
        if self.limits.unified:
            assert self.used() <= self.limits.pool_tokens
        sampled = [row.call for row in step.rows if row.samples]
        scheduler.commit(step)
        if self.limits.unified:
            assert scheduler.used_cells == self.used()
        for call in step.full:
            scheduler.finish(call)
        return sampled


LIMITS = st.builds(
    lambda slots, tokens, unified, worth, kept, share: Limits(
        slots=slots,
        slot_tokens=tokens,
        pool_tokens=tokens + 10 if unified else tokens * slots,
        batch=16,
        queue=1000,
        unified=unified,
        worth=worth,
        prefix_tokens=kept,
        shares=share,
    ),
    st.integers(1, 5), st.integers(24, 60), st.booleans(), st.integers(1, 6), st.sampled_from([0, 30, 1000]), st.sampled_from([True, True, False]),
)  # fmt: skip
WORK = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 20), st.integers(1, 8), st.integers(0, 3), st.integers(0, 2)),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(LIMITS, WORK, st.integers(0, 10**6), st.integers(1, 16))
def test_every_call_ends_with_its_own_text(
    limits: Limits, work: list[tuple[int, int, int, int, int]], seed: int, budget: int
) -> None:
    rng = random.Random(seed)
    scheduler, kv = Scheduler(limits), Kv(limits)
    to_come = [
        Call(
            tokens=[family] * min(length, 12) + [rng.randint(0, 2) for _ in range(length)],
            room=room,
            agent=f"a{agent}",
            priority=priority if rng.random() < 0.3 else 0,
        )
        for family, length, room, agent, priority in work
    ]
    to_come = [call for call in to_come if len(call.tokens) + call.room <= limits.slot_tokens]
    alive: list[Call] = []
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
    assert scheduler.kept_tokens <= limits.prefix_tokens


def drive(scheduler: Scheduler, kv: Kv, calls: list[Call], budget: int = 64) -> None:
    for call in calls:
        scheduler.submit(call)
    while not scheduler.idle:
        for call in kv.run(scheduler, budget):
            scheduler.write(call, 1)
            if call.written >= call.room:
                scheduler.finish(call)


@pytest.mark.parametrize("unified", [True, False])
def test_a_common_beginning_is_computed_once_though_all_start_together(unified: bool) -> None:
    limits = Limits(slots=16, slot_tokens=256, pool_tokens=4096, batch=128, unified=unified)
    scheduler, kv = Scheduler(limits), Kv(limits)
    calls = [Call(tokens=[9] * 200 + [n, n, n], room=4) for n in range(16)]
    drive(scheduler, kv, calls)
    assert scheduler.counts.reused_tokens == 15 * 200
    assert sum(call.reused for call in calls) == 15 * 200


def test_when_the_one_who_reads_for_all_is_cancelled_another_goes_on_from_there() -> None:
    limits = Limits(slots=4, slot_tokens=256, pool_tokens=1024, batch=64)
    scheduler, kv = Scheduler(limits), Kv(limits)
    calls = [Call(tokens=[9] * 200 + [n], room=1) for n in range(4)]
    for call in calls:
        scheduler.submit(call)
    kv.run(scheduler, 64)
    assert [call.computed for call in calls] == [64, 0, 0, 0]
    scheduler.finish(calls[0])
    kv.run(scheduler, 64)
    assert [call.computed for call in calls[1:]] == [128, 0, 0]


def test_agents_are_served_alike_however_much_they_ask() -> None:
    limits = Limits(slots=4, slot_tokens=64, pool_tokens=256, batch=64, shares=False)
    scheduler, kv, written = Scheduler(limits), Kv(limits), {"many": 0, "few": 0}
    for n in range(200):
        scheduler.submit(Call(tokens=[n, 1, 2, 3], room=8, agent="many"))
    scheduler.submit(Call(tokens=[1, 2, 3, 4], room=8, agent="few"))
    for _ in range(200):
        for call in kv.run(scheduler, 64):
            scheduler.write(call, 1)
            written[call.agent] += 1
            if call.written >= call.room:
                scheduler.finish(call)
                if call.agent == "few":  # it always asks again, but only then
                    for _again in range(2 if written["few"] < 20 else 1):
                        scheduler.submit(Call(tokens=[1, 2, 3, 4], room=8, agent="few"))
    assert 0.5 < written["few"] / written["many"] < 2


def test_a_higher_priority_takes_the_place_of_a_lower_and_the_lower_ends_too() -> None:
    limits = Limits(slots=1, slot_tokens=64, pool_tokens=64, batch=64)
    scheduler, kv = Scheduler(limits), Kv(limits)
    low, high = Call(tokens=[1, 2, 3], room=9), Call(tokens=[4, 5, 6], room=3, priority=1)
    scheduler.submit(low)
    for call in kv.run(scheduler, 8):
        scheduler.write(call, 1)
    scheduler.submit(high)
    order: list[Call] = []
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
    limits = Limits(slots=2, slot_tokens=4096, pool_tokens=8192, batch=128)
    scheduler, kv = Scheduler(limits), Kv(limits)
    long, short = Call(tokens=[1] * 2000, room=1), Call(tokens=[2] * 30, room=1, agent="b")
    scheduler.submit(long)
    kv.run(scheduler, 128)
    scheduler.submit(short)
    assert kv.run(scheduler, 128) == [short]
    assert long.computed == 128 + 98


def test_a_full_queue_refuses_and_says_so() -> None:
    scheduler = Scheduler(Limits(slots=1, slot_tokens=64, pool_tokens=64, batch=8, queue=2))
    for _ in range(2):
        scheduler.submit(Call(tokens=[1], room=1))
    with pytest.raises(QueueFull):
        scheduler.submit(Call(tokens=[1], room=1))
    assert scheduler.counts.refused == 1
    assert scheduler.waiting == 2
