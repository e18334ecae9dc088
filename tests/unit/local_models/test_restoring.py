"""Calls whose beginning is restored from outside the KV cache, in the scheduler."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.scheduling.plan import ScheduledCall, SchedulerLimits
from local_models.scheduling.scheduler import Scheduler
from tests.unit.local_models.test_scheduler_properties import LIMITS, WORK, Kv, calls_of


@settings(max_examples=200, deadline=None)
@given(LIMITS, WORK, st.integers(0, 10**6), st.integers(1, 16))
def test_states_that_come_late_partly_or_not_at_all_end_every_call(
    limits: SchedulerLimits, work: list[tuple[int, int, int, int, int]], seed: int, budget: int
) -> None:
    rng = random.Random(seed)
    scheduler, kv = Scheduler(limits), Kv(limits)
    ordered: list[ScheduledCall] = []

    def restorable(tokens: list[int], there: int) -> int:
        count = rng.randint(0, len(tokens) - 1)
        return count if count > there and rng.random() < 0.7 else 0

    if limits.shares:
        scheduler.restorable = restorable  # type: ignore[assignment]
    to_come = calls_of(work, rng, limits)
    alive: list[ScheduledCall] = []
    steps = 0
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
        if rng.random() < 0.01:
            scheduler.start_over()
        while ordered and rng.random() < 0.5:
            call = ordered.pop(rng.randrange(len(ordered)))
            if not call.restoring or call.slot < 0:
                continue
            count = rng.choice([0, call.restoring, rng.randint(0, call.restoring)])
            if not scheduler.slots.has_room(count):
                count = 0
            held = kv.slots.setdefault(call.slot, [])
            assert not held, "the slot of a call that waits for a state is empty"
            held += [(kv.fresh(), token) for token in call.tokens[:count]]
            scheduler.restored(call, count)
        for call in kv.run(scheduler, budget):
            assert not call.restoring
            scheduler.write(call, 7 + call.written)
            if call.written >= call.room:
                assert call.tokens[call.prompt :] == [7 + i for i in range(call.room)]
                scheduler.finish(call)
                alive.remove(call)
        ordered += [call for call in kv.last.seated if call.restoring]
    assert scheduler.idle


def test_others_wait_for_a_state_that_is_restored_and_copy_it() -> None:
    limits = SchedulerLimits(slots=4, slot_tokens=256, pool_tokens=1024, batch=64)
    scheduler, kv = Scheduler(limits), Kv(limits)
    scheduler.restorable = lambda _tokens, there: 160 if there < 128 else 0
    calls = [ScheduledCall(tokens=[9] * 200 + [n], room=1) for n in range(4)]
    for call in calls:
        scheduler.submit(call)
    assert kv.run(scheduler, 64) == []
    assert [call.restoring for call in calls] == [160, 0, 0, 0]
    assert not kv.last.rows
    kv.slots[calls[0].slot] = [(kv.fresh(), 9) for _ in range(160)]
    scheduler.restored(calls[0], 160)
    kv.run(scheduler, 64)
    assert calls[0].computed == 201
    kv.run(scheduler, 64)
    assert [call.computed for call in calls] == [201] * 4
    assert [call.reused for call in calls] == [160, 200, 200, 200]
