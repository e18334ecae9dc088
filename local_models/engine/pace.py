"""How much of a prompt fits into a step beside running streams. Pure.

A step with a prompt aims at `step_ms`, or at 2.5 times what the writers alone take where that is longer: less would read
prompts in pieces so small that reading the weights for them costs more than the tokens. Tokens are priced by how deep in
their text they are, since each is scored against all before it: at 2,000 tokens one can cost ten times what the first ones
cost. All is learned from the steps themselves; now and then one goes without a prompt, to see what the writers alone take by
now, whose texts have grown.
"""

from collections.abc import Iterable

DEPTH = 256  # positions that have one price
FIRST = 32  # prompt tokens in a step of which nothing is known yet
SHARE = 2.5  # a step with a prompt to one without: what a stream may be slowed down by
LOOK = 16  # steps with a prompt, then one without
RISE, FALL = 0.5, 0.2  # of a surprise that is believed: a step too long is felt, one too short is not


class PrefillPace:
    def __init__(self, target: float, batch: int) -> None:
        self._target, self._batch = target, batch
        self._writing: dict[int, float] = {}  # writers -> seconds of a step without prompts
        self._prices: dict[int, float] = {}  # depth -> seconds of a prompt token there, beside writers
        self._since = 0  # steps since the last one that had writers only

    def allowance(self, writers: int, readers: int) -> float:
        """Seconds for prompts. Where many wait for their first token and few write, the few may wait longer."""
        if not writers:
            return float("inf")
        if self._since >= LOOK:
            return 0.0
        plain = self._expected(writers)
        return max(self._target, SHARE * plain) * (1 + min(readers / writers, 32)) - plain

    def price(self, position: int) -> float:
        """Seconds that a token at this position is expected to take."""
        if not self._prices:
            return self._target / FIRST
        depth = position // DEPTH
        known = self._prices.get(depth)
        return known if known is not None else self._prices[self._nearest(depth)]

    def _nearest(self, depth: int) -> int:
        return min(self._prices, key=lambda other: abs(other - depth))

    def _expected(self, writers: int) -> float:
        if not self._writing:
            return 0.0
        known = self._writing.get(writers)
        if known is None:
            nearest = min(self._writing, key=lambda count: abs(count - writers))
            known = self._writing[nearest] * max(writers / nearest, 1.0)
        return known

    def learn(self, writers: int, reads: Iterable[tuple[int, int]], seconds: float) -> None:
        """A step with so many writers read `reads`, each a position and a count, and took `seconds`."""
        if not writers:
            return  # a whole batch of prompts: a token there costs less than one beside writers
        tokens: dict[int, int] = {}
        for start, count in reads:
            depth = (start + count // 2) // DEPTH
            tokens[depth] = tokens.get(depth, 0) + count
        if not tokens:
            before = self._writing.get(writers, seconds)
            self._writing[writers] = before + RISE * (seconds - before)
            self._since = 0
            return
        self._since += 1
        spent = max(seconds - self._expected(writers), seconds / 10)
        if not self._prices:
            each = spent / sum(tokens.values())
            self._prices = dict.fromkeys(tokens, each)
            return
        expected = sum(count * self.price(depth * DEPTH) for depth, count in tokens.items())
        surprise = spent / expected
        factor = surprise ** (RISE if surprise > 1 else FALL)
        for depth in tokens:
            self._prices[depth] = self.price(depth * DEPTH) * factor
