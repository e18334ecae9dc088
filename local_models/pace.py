"""How much of a prompt fits into a step beside running streams. Pure."""


class Pace:
    """How many prompt tokens fit into a step beside the writers, learned from the steps themselves."""

    def __init__(self, target: float, batch: int) -> None:
        self._target, self._batch = target, batch
        self._writing: dict[int, float] = {}  # writers -> seconds of a step without prompts
        self._rate = 0.0  # prompt tokens a second beside writers

    def budget(self, writers: int, readers: int) -> int:
        """Where many wait for their first token and few write, the few may wait longer, up to the whole batch."""
        if not writers:
            return self._batch
        if not self._rate:
            return 32
        target = self._target * (1 + min(readers / writers, 32))
        left = max(target - self._expected(writers), 0.0)
        return int(min(max(left * self._rate, 16), self._batch))

    def _expected(self, writers: int) -> float:
        known = self._writing.get(writers)
        if known is None and self._writing:
            nearest = min(self._writing, key=lambda count: abs(count - writers))
            known = self._writing[nearest] * max(writers / nearest, 1.0)
        return known or 0.0

    def learn(self, writers: int, read: int, seconds: float) -> None:
        if not read:
            before = self._writing.get(writers, seconds)
            self._writing[writers] = before + 0.2 * (seconds - before)
        elif read >= 16:
            spent = max(seconds - self._expected(writers), seconds / 10)
            self._rate += (0.3 if self._rate else 1.0) * (read / spent - self._rate)
