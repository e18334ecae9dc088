"""Paces of the engine, from measured times: prompt tokens in a step, and threads that compute. Pure.

Prefill pace: how many prompt tokens fit into a step beside running streams.

A step with a prompt aims at `step_ms`, or at 2.5 times the time of the writers alone where that is longer. Smaller
pieces of a prompt would cost more for reading the weights than for their tokens. The price of a token depends on its
position, since attention goes over all tokens before it: at position 2,000 a token can cost ten times as much as the
first ones. All times are measured on the steps themselves. Now and then a step takes no prompt, to measure the writers
alone, whose texts grow.
"""

from collections.abc import Iterable

CHECK = 0.25  # seconds between two looks at the loops and at other programs
BUSY, IDLE = 0.25, 0.12  # parts of a core: who takes more needs a core, who takes less needs none
DEPTH = 256  # positions that share one price
FIRST = 32  # prompt tokens in a step before anything was measured
SHARE = 2.5  # most time of a step with a prompt, as a multiple of one without
LOOK = 16  # steps with a prompt before one without
RISE, FALL = 0.5, 0.2  # weight of a new measurement: readers notice steps that are too long, not those too short


class PrefillPace:
    """Prices prompt tokens from measured steps; `target` is seconds of a step, `batch` its most tokens."""

    def __init__(self, target: float, batch: int) -> None:
        self._target, self._batch = target, batch
        self._plain_seconds: dict[int, float] = {}  # number of writers -> seconds of a step without prompts
        self._prices: dict[int, float] = {}  # position // DEPTH -> seconds of a prompt token there, beside writers
        self._steps_since_plain = 0  # steps since the last one that had writers only

    def allowance(self, writers: int, readers: int) -> float:
        """Returns the seconds of a step for prompts: more where many calls wait for their first token and few write."""
        if not writers:
            return float("inf")
        if self._steps_since_plain >= LOOK:
            return 0.0
        plain = self._expected_seconds(writers)
        return max(self._target, SHARE * plain) * (1 + min(readers / writers, 32)) - plain

    def price(self, position: int) -> float:
        """Returns the expected seconds of a prompt token at a position."""
        if not self._prices:
            return self._target / FIRST
        depth = position // DEPTH
        known = self._prices.get(depth)
        return known if known is not None else self._prices[self._nearest_depth(depth)]

    def _nearest_depth(self, depth: int) -> int:
        return min(self._prices, key=lambda other: abs(other - depth))

    def _expected_seconds(self, writers: int) -> float:
        if not self._plain_seconds:
            return 0.0
        known = self._plain_seconds.get(writers)
        if known is None:
            nearest = min(self._plain_seconds, key=lambda count: abs(count - writers))
            known = self._plain_seconds[nearest] * max(writers / nearest, 1.0)
        return known

    def record_step(self, writers: int, reads: Iterable[tuple[int, int]], seconds: float) -> None:
        """Records a step of so many writers that took `seconds`; `reads` has a position and a count for each prompt."""
        if not writers:
            return  # a batch of prompts alone: a token costs less than beside writers
        tokens: dict[int, int] = {}
        for start, count in reads:
            depth = (start + count // 2) // DEPTH
            tokens[depth] = tokens.get(depth, 0) + count
        if not tokens:
            before = self._plain_seconds.get(writers, seconds)
            self._plain_seconds[writers] = before + RISE * (seconds - before)
            self._steps_since_plain = 0
            return
        self._steps_since_plain += 1
        spent = max(seconds - self._expected_seconds(writers), seconds / 10)
        if not self._prices:
            each = spent / sum(tokens.values())
            self._prices = dict.fromkeys(tokens, each)
            return
        expected = sum(count * self.price(depth * DEPTH) for depth, count in tokens.items())
        surprise = spent / expected
        factor = surprise ** (RISE if surprise > 1 else FALL)
        for depth in tokens:
            self._prices[depth] = self.price(depth * DEPTH) * factor


class ThreadPace:
    """Chooses the threads that compute: `most`, or only `few` while others need a core. Pure.

    Others are the event loops of the program, and other programs: threads that compute wait for one another many times
    in a token, and on a core that is taken they wait long. The need is measured: the processor time that others took
    since the last look. Between the two limits the choice stays, so that it does not swing.
    """

    def __init__(self, few: int, most: int) -> None:
        self._few, self._most = few, most
        self.threads = most
        self._looked_at = 0.0
        self._others_seconds = 0.0

    def look(self, now: float, others_seconds: float) -> int:
        """Returns the threads from now on; `others_seconds` is the processor time of others so far."""
        passed, taken = now - self._looked_at, max(others_seconds - self._others_seconds, 0.0)
        self._looked_at, self._others_seconds = now, others_seconds
        if 0 < passed < 20 * CHECK:  # after a pause it says nothing of now
            share = taken / passed
            self.threads = self._few if share > BUSY else self._most if share < IDLE else self.threads
        return self.threads
