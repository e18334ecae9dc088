"""Reading: how many tokens of which prompts a step reads. Pure.

The budget is divided in rounds, so that a short prompt overtakes a long one.
"""

from collections.abc import Callable, Sequence

from local_models.scheduling.plan import ScheduledCall

# Tokens that a call reads before another call's turn in the same step. Attention on CPUs is twice as fast from 64 on.
ROUND = 128
# Last tokens of a prompt that are left to the next steps where the others of a step have fewer tokens, in the split
# layout: llama.cpp computes sequences together for as many tokens as all of them have, and a rest in a pass of its own,
# for which all wait. In a step of writers a token of a prompt comes along. With few others, its caller waits longer.
TAIL = 2


def divide_budget(
    readers: Sequence[ScheduledCall], room: int, budget: float, price: Callable[[int], float]
) -> dict[ScheduledCall, int]:
    """Returns how many tokens each reader reads, the first ones first; together they fit `room` and `budget`."""
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


def leave_tails(given: dict[ScheduledCall, int], beside_writers: bool) -> set[ScheduledCall]:
    """Leaves the last tokens of prompts that have a few more than all others of the step; returns the prompts."""
    least = 1 if beside_writers else min(given.values(), default=0)
    tails = {call for call, count in given.items() if least < count == call.left <= least + TAIL}
    given |= dict.fromkeys(tails, least)
    return tails
