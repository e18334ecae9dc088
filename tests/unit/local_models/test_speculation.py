"""Guesses at the next tokens, and the choice of how many of them are worth their time."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.scheduling.plan import Row, ScheduledCall, StepPlan
from local_models.speculation.acceptance import CallAcceptance, GuessSource, ModelAcceptance, text_source
from local_models.speculation.call_guess import CallGuess
from local_models.speculation.choice import LENGTHS, GuessOffer, LengthChoice, StepLayout, choose, passes_of
from local_models.speculation.real_gain import RealGain
from local_models.speculation.shared_table import LENGTH, SharedTable
from local_models.speculation.speculation import Speculation
from local_models.speculation.step_cost import STALE, TRUSTED, StepCost
from local_models.speculation.text_lookup import LONG, SHORT, TextLookup

SPLIT, UNIFIED = StepLayout(unified=False), StepLayout(unified=True)
TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=60)


def latest_alike(text: Sequence[int]) -> int:
    """Place behind the latest tokens like the last ones: the slow way."""
    for length in (LONG, SHORT):
        for place in range(len(text) - 1, length - 1, -1):
            if list(text[place - length : place]) == list(text[-length:]) and len(text) > length:
                return place
    return -1


@settings(max_examples=300, deadline=None)
@given(TOKENS, TOKENS)
def test_a_text_is_looked_up_where_it_last_read_alike(first: list[int], rest: list[int]) -> None:
    lookup, text = TextLookup(), list(first)
    lookup.extend(first)
    expected = latest_alike(text)
    assert lookup.propose(3)[:1] == ([text[expected]] if expected >= 0 else [])
    for token in rest:
        proposed = lookup.propose(1)
        lookup.extend([token])
        text.append(token)
        if proposed and proposed[0] != token:
            again = latest_alike(text)
            assert lookup.propose(1) == ([text[again]] if again >= 0 else []), "a wrong place is left"
    assert len(lookup) == len(text)


def test_a_place_is_followed_and_counts_as_more_alike() -> None:
    lookup = TextLookup()
    lookup.extend([*range(100, 140), 1, 2, 102, 103])
    assert lookup.propose(5) == [104, 105, 106, 107, 108]
    assert lookup.alike == SHORT
    lookup.extend([104, 105, 106])
    assert (lookup.propose(2), lookup.alike) == ([107, 108], SHORT + 3)
    lookup.extend([9])
    assert lookup.propose(2) == []


def test_a_text_that_repeats_itself_is_proposed_for_as_long_as_asked() -> None:
    lookup = TextLookup()
    lookup.extend([5, 6, 7] * 4)
    assert lookup.propose(8) == [5, 6, 7, 5, 6, 7, 5, 6]


def test_the_shared_table_tells_what_others_wrote_and_stays_in_its_size() -> None:
    table = SharedTable(places=1 << 14)
    text = random.Random(1).sample(range(50_000), 100)
    table.learn(text, LENGTH)
    assert table.propose(text[10 : 10 + LENGTH], 16) == text[10 + LENGTH : 26 + LENGTH]
    assert table.propose(text[-LENGTH:], 4) == []
    assert table.propose([1, 2], 4) == []
    changed = [*text[:20], 7, 8]
    table.learn(changed, 20)
    assert table.propose(text[20 - LENGTH : 20], 2) == [7, 8], "the newest counts"
    table.learn(random.Random(2).sample(range(50_000, 150_000), 80_000), 0)
    known = sum(bool(table.propose(text[at : at + LENGTH], 1)) for at in range(90))
    assert known < 10, "older ones make room"


def test_an_answer_is_found_right_or_wrong_whether_or_not_it_was_proposed() -> None:
    model = ModelAcceptance()
    calls = [CallGuess(0, model, SharedTable()) for _ in range(2)]
    steady, changing = list(range(60)), list(range(60))
    rng = random.Random(3)
    for n in range(300):
        steady.append(n % 60)
        changing += [n % 60, rng.randrange(1000)]
        calls[0].make(steady, frozenset())
        calls[1].make(changing[: len(changing)], frozenset())
    source = text_source(16)
    assert calls[0].source == source
    assert calls[0].rate > 0.9
    assert calls[1].rate < 0.4
    assert model.rate(source) > 0.8


def test_no_end_of_an_answer_is_proposed() -> None:
    guess = CallGuess(0, ModelAcceptance(), SharedTable())
    guess.make([1, 2, 3, 9, 4, 1, 2], frozenset({9}))
    assert guess.tokens == [3]


def test_a_call_begins_with_the_rates_of_its_model() -> None:
    model = ModelAcceptance()
    for _ in range(100):
        CallAcceptance(model).record(GuessSource.SHARED, 8, 1)
    assert CallAcceptance(model).rate(GuessSource.SHARED) == pytest.approx(8 / 9, abs=0.03)


# --- what a step costs ---


def linear(each: float, fixed: float) -> Callable[[int], float]:
    return lambda tokens: fixed + each * tokens


def measured(cost: Callable[[int], float], sizes: Sequence[int], *, noise: float = 0.0, seed: int = 1) -> StepCost:
    rng, found = random.Random(seed), StepCost()
    for _ in range(TRUSTED + 3):
        for size in sizes:
            found.record([size], cost(size) * (1 + noise * rng.random()))
    return found


def test_costs_are_those_measured_and_a_slow_hour_is_slow_for_all_sizes() -> None:
    cost = linear(1.0, 5.0)
    found = measured(cost, [1, 2, 4, 8, 200])
    for size in (1, 2, 4, 8, 200):
        assert found.known(size)
        assert found.seconds(size) == pytest.approx(cost(size), rel=0.1)
    for _ in range(60):
        found.record([4], 3 * cost(4))
    assert found.seconds(8) / found.seconds(1) == pytest.approx(cost(8) / cost(1), rel=0.25)
    assert found.seconds(8) > 2 * cost(8)


def test_what_was_held_up_once_says_nothing() -> None:
    found = StepCost()
    for seconds in (0.5, 0.01, 0.011, 0.01):
        found.record([1], seconds)
    assert found.seconds(1) < 0.013


def test_passes_of_one_step_are_told_apart_and_old_measurements_forgotten() -> None:
    found = measured(linear(1.0, 5.0), [4])
    for _ in range(TRUSTED):
        found.record([4, 2], 9.0 + 7.0)
    assert found.seconds(2) == pytest.approx(7.0, rel=0.2)
    for _ in range(STALE):
        found.record([4], 9.0)
    assert found.known(4)
    assert not found.known(2)


# --- the choice ---


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), min_size=1, max_size=8, unique_by=lambda row: row[0]))
def test_passes_hold_every_token_once(rows: list[tuple[int, int]]) -> None:
    rows.sort()
    slots, counts = [slot for slot, _ in rows], [count for _, count in rows]
    passes = passes_of(slots, counts, unified=False)
    assert sum(passes) == sum(counts)
    assert len(passes) >= max(counts) - min(counts) > 0 or min(counts) == max(counts) or len(passes) > 1
    assert passes_of(slots, counts, unified=True) == [sum(counts)]


def test_passes_are_those_of_llama_cpp() -> None:
    assert passes_of([0, 1, 2, 3], [3, 3, 3, 3], unified=False) == [12]
    assert passes_of([0, 1, 2, 3], [1, 3, 1, 3], unified=False) == [4, 2, 2]
    assert passes_of([0, 2], [2, 2], unified=False) == [2, 2]
    assert StepLayout(unified=False, gap=1).plain_passes([0, 2, 5]) == [3, 1]
    assert SPLIT.plain_passes([0, 2]) == [1, 1]


def chosen(
    offers: Sequence[GuessOffer], cost: StepCost, layout: StepLayout = SPLIT, room: int = 448
) -> LengthChoice | None:
    return choose(offers, room, layout, cost)


SIZES = [callers * (1 + length) for callers in (1, 8, 64) for length in (0, *LENGTHS)]
CHEAP = measured(linear(0.1, 1.0), SIZES)  # a token more costs a tenth of a step
DEAR = measured(linear(1.0, 0.05), SIZES)  # a token more costs as much as it gives


def test_good_proposals_are_long_where_tokens_are_cheap_and_none_where_they_are_not() -> None:
    offers = [GuessOffer(0, 16, 16, 0.95)]
    found = chosen(offers, CHEAP)
    assert found is not None
    assert found.lengths[0] >= 8
    assert chosen(offers, DEAR) is None
    assert chosen([GuessOffer(0, 16, 16, 0.05)], CHEAP) is None
    short = chosen([GuessOffer(0, 16, 16, 0.5)], CHEAP)
    assert short is not None
    assert short.lengths[0] <= 4


def test_a_wide_batch_has_no_proposals_and_a_narrow_one_has() -> None:
    """A step costs as its passes are: up to 16 tokens for the price of one, from there on each its own."""
    roof = measured(lambda tokens: max(16.0, tokens), SIZES)
    one = chosen([GuessOffer(0, 16, 16, 0.9)], roof)
    assert one is not None
    assert max(one.lengths) >= 12
    wide = [GuessOffer(slot, 16, 16, 0.9) for slot in range(64)]
    assert chosen(wide, roof) is None


def test_a_step_is_filled_where_that_spares_passes() -> None:
    offers = [GuessOffer(slot, 16, 0 if slot == 3 else 16, 0.95) for slot in range(8)]
    found = chosen(offers, CHEAP)
    assert found is not None
    assert found.filled
    assert found.lengths[3] == 0
    lone = chosen(
        [GuessOffer(slot, 16, 16 if slot == 3 else 0, 0.95) for slot in range(8)], measured(linear(1, 9), SIZES)
    )
    assert lone is None or not lone.filled
    full = chosen([GuessOffer(slot, 1 if slot == 3 else 16, 0 if slot == 3 else 16, 0.95) for slot in range(8)], CHEAP)
    assert full is None or not full.filled or max(full.lengths) == 1, "there is no room behind that call"


def test_room_is_kept_to() -> None:
    found = chosen([GuessOffer(slot, 16, 16, 0.99) for slot in range(8)], CHEAP, room=20)
    assert found is not None
    assert sum(found.lengths) <= 20


def test_sizes_that_were_not_measured_are_tried_with_good_proposals_alone() -> None:
    plain = measured(linear(0.1, 1.0), [1])
    assert chosen([GuessOffer(0, 16, 16, 0.95)], plain) is not None
    assert chosen([GuessOffer(0, 16, 16, 0.5)], plain) is None


# --- all together, on a machine whose costs are known ---


def run(text: Callable[[int], int], cost: Callable[[int], float], prompt: list[int], tokens: int) -> float:
    """Writes an answer; returns how many times faster it was than with a token in each step."""
    speculation, seconds = Speculation(SPLIT, frozenset()), 0.0
    call = ScheduledCall(tokens=list(prompt), room=tokens, prompt=len(prompt), slot=0)
    while call.written < tokens:
        step = StepPlan(rows=[Row(call, len(call.tokens) - 1, 1)], tokens=1)
        before = call.written
        speculation.propose(step, 500)
        row = step.rows[0]
        for proposed in (*row.proposed, -1):
            call.tokens.append(text(call.written))
            if call.tokens[-1] != proposed:
                break
        took = cost(1 + step.proposed)
        seconds += took
        speculation.record_step(step, took)
        speculation.record_look(step, call.written - before, 0.0)
    return tokens * cost(1) / seconds


def test_a_repeated_prompt_is_faster_and_free_text_no_slower() -> None:
    prompt = random.Random(4).sample(range(10_000), 500)
    rng = random.Random(5)
    assert run(lambda at: prompt[at], linear(0.1, 1.0), prompt, 400) > 4
    assert run(lambda at: rng.randrange(40), linear(0.1, 1.0), prompt, 2000) > 0.99
    assert run(lambda at: rng.randrange(3), linear(0.9, 0.1), prompt, 2000) > 0.97
    assert run(lambda at: prompt[at], linear(1.0, 0.0), prompt, 400) > 0.97, "where tokens cost what they give"


def test_where_estimates_are_wrong_there_is_a_pause_and_a_longer_one_each_time() -> None:
    gain, pauses = RealGain(), list[int]()
    for _ in range(200):
        if gain.pauses():
            pauses[-1] += 1
            continue
        before = gain._pause
        gain.record(plain_seconds=1.0, tokens=1.5, seconds=2.0)
        if gain._pause != before:
            pauses.append(0)
    assert pauses[:3] == [16, 32, 64]
    gain = RealGain()
    for _ in range(100):
        gain.record(plain_seconds=1.0, tokens=3.0, seconds=2.0)
    assert not gain.pauses()


def test_sizes_between_measured_ones_are_known_and_larger_ones_tried_step_by_step() -> None:
    found = measured(linear(1.0, 3.0), [1, 9])
    assert found.known(5)
    assert found.seconds(5) == pytest.approx(8.0, rel=0.1)
    assert not found.known(17)
    assert found.within_reach(36)
    assert not found.within_reach(37)
    assert 12.0 < found.seconds(17) < 20.0
