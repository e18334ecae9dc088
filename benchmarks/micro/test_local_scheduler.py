"""Scheduler alone: the cost of a step with many writers, and of an admission among many waiting agents."""

from typing import Any

from local_models.scheduling import ScheduledCall, Scheduler, SchedulerLimits

LIMITS = SchedulerLimits(slots=64, slot_tokens=4096, pool_tokens=64 * 4096, batch=512)


def test_a_step_of_64_writers(benchmark: Any) -> None:
    scheduler = Scheduler(LIMITS)
    for number in range(64):
        scheduler.submit(ScheduledCall(tokens=[number] * 8, room=1 << 30, agent=str(number)))

    def step() -> None:
        planned = scheduler.plan(512)
        sampled = [row.call for row in planned.rows if row.samples]
        scheduler.commit(planned)
        for call in sampled:
            scheduler.write(call, 1)

    step()
    benchmark.pedantic(step, rounds=300, iterations=1)


def test_a_thousand_agents_with_a_common_prompt(benchmark: Any) -> None:
    def serve() -> None:
        scheduler = Scheduler(LIMITS)
        for number in range(1000):
            scheduler.submit(ScheduledCall(tokens=[*range(500), number], room=1, agent=str(number)))
        while not scheduler.idle:
            planned = scheduler.plan(512)
            sampled = [row.call for row in planned.rows if row.samples]
            scheduler.commit(planned)
            for call in sampled:
                scheduler.write(call, 1)
                scheduler.finish(call)

    benchmark.pedantic(serve, rounds=5, iterations=1)
