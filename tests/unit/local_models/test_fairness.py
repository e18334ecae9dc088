"""Who is next: shares, priorities, and a queue that forgets what has gone."""

from hypothesis import given
from hypothesis import strategies as st

from local_models.scheduling.fairness import FairCallQueue
from local_models.scheduling.plan import ScheduledCall, SchedulerLimits
from local_models.scheduling.scheduler import Scheduler


def live(agents: int, greedy: int, slots: int, steps: int) -> dict[str, int]:
    """Every agent asks again when answered; the greedy ones have ten calls at once."""
    scheduler = Scheduler(SchedulerLimits(slots=slots, slot_tokens=64, pool_tokens=64 * slots, batch=256, shares=False))
    served = {f"a{n}": 0 for n in range(agents)}

    def ask(agent: str) -> None:
        scheduler.submit(ScheduledCall(tokens=[1, 2, 3, 4], room=8, agent=agent))

    for number in range(agents):
        for _ in range(10 if number < greedy else 1):
            ask(f"a{number}")
    for _ in range(steps):
        planned = scheduler.plan(256)
        sampled = [row.call for row in planned.rows if row.samples]
        scheduler.commit(planned)
        for call in sampled:
            scheduler.write(call, 1)
            served[call.agent] += 1
            if call.written == call.room:
                scheduler.finish(call)
                ask(call.agent)
    assert len(scheduler._turns._order) <= 4 * agents + 65
    return served


def test_agents_with_many_calls_get_no_more_than_the_others() -> None:
    served = live(agents=40, greedy=4, slots=8, steps=1500)
    assert max(served.values()) < 2 * min(served.values())


def test_a_call_is_charged_when_it_gets_its_place_and_not_afterwards() -> None:
    """Or an agent with many calls would get many places before the first of them counted."""
    scheduler = Scheduler(SchedulerLimits(slots=8, slot_tokens=64, pool_tokens=512, batch=64))
    for number in range(20):
        scheduler.submit(ScheduledCall(tokens=[number, 1, 2, 3], room=8, agent="many"))
    for number in range(7):
        scheduler.submit(ScheduledCall(tokens=[100 + number, 1, 2, 3], room=8, agent=f"few/{number}"))
    seated = [call.agent for call in scheduler.plan(64).seated]
    assert seated == ["many", *(f"few/{number}" for number in range(7))]


def test_with_many_places_a_greedy_agent_takes_only_what_the_others_leave() -> None:
    served = live(agents=10, greedy=2, slots=16, steps=400)
    ordinary = [served[f"a{n}"] for n in range(2, 10)]
    assert min(ordinary) * 1.2 > max(ordinary)


@given(
    st.lists(
        st.tuples(st.sampled_from(["arrive", "take", "withdraw", "serve"]), st.integers(0, 4), st.integers(-3, 9)),
        max_size=60,
    )
)
def test_the_next_is_always_the_one_a_plain_search_would_find(actions: list[tuple[str, int, int]]) -> None:
    turns: FairCallQueue[ScheduledCall] = FairCallQueue()
    waiting: list[ScheduledCall] = []
    arrivals = 0

    def key(call: ScheduledCall) -> tuple[int, float, int]:
        return (-call.priority, turns.service(call.agent), call.arrival)

    for action, who, amount in actions:
        if action == "arrive":
            arrivals += 1
            call = ScheduledCall(tokens=[1], room=1, agent=str(who), priority=max(amount, 0) // 4, arrival=arrivals)
            turns.arrive(call)
            waiting.append(call)
        elif action == "serve" and any(call.agent == str(who) for call in waiting):
            turns.serve(str(who), amount)
        elif action == "withdraw" and waiting:
            call = waiting.pop(who % len(waiting))
            turns.withdraw(call)
            turns.leave(call)
        best = min(waiting, key=key, default=None)
        assert turns.peek() is best
        assert len(turns) == len(waiting)
        if action == "take" and best is not None:
            turns.take(best)
            turns.leave(best)
            waiting.remove(best)
