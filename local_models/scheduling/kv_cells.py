"""KV cells: counts the used cells of a shared pool; a cell that several sequences share counts once. Pure.

A sequence is a list of runs of cells. A copied beginning makes both sequences refer to the same runs. Where a copy or a
trim ends inside a run, the run is split for all sequences that refer to it.
"""


class _Run:
    """Consecutive cells that the same sequences hold."""

    __slots__ = ("holders", "length")

    def __init__(self, length: int, holders: set[int]) -> None:
        self.length = length
        self.holders = holders


class KvCells:
    """Cells of a pool by sequence; `used` is how many are in use."""

    def __init__(self) -> None:
        self._sequences: dict[int, list[_Run]] = {}
        self.used = 0

    def length(self, sequence: int) -> int:
        """Returns the cells of a sequence, shared ones included."""
        return sum(run.length for run in self._sequences.get(sequence, ()))

    def own(self, sequence: int) -> int:
        """Returns the cells that no other sequence shares."""
        return sum(run.length for run in self._sequences.get(sequence, ()) if len(run.holders) == 1)

    def grow(self, sequence: int, count: int) -> None:
        """Adds cells to the end of a sequence."""
        if count <= 0:
            return
        runs = self._sequences.setdefault(sequence, [])
        if runs and len(runs[-1].holders) == 1:
            runs[-1].length += count
        else:
            runs.append(_Run(count, {sequence}))
        self.used += count

    def _cut(self, sequence: int, length: int) -> int:
        """Makes a run end at `length`; returns the number of runs up to there."""
        at = 0
        for index, run in enumerate(self._sequences.get(sequence, ())):
            if at == length:
                return index
            if at + run.length > length:
                tail = _Run(at + run.length - length, set(run.holders))
                run.length = length - at
                for holder in run.holders:
                    runs = self._sequences[holder]
                    runs.insert(runs.index(run) + 1, tail)
                return index + 1
            at += run.length
        return len(self._sequences.get(sequence, ()))

    def keep(self, sequence: int, length: int) -> None:
        """Drops the cells of a sequence from `length` on."""
        count = self._cut(sequence, length)
        runs = self._sequences.get(sequence, [])
        for run in runs[count:]:
            run.holders.discard(sequence)
            if not run.holders:
                self.used -= run.length
        del runs[count:]
        if not runs:
            self._sequences.pop(sequence, None)

    def share(self, source: int, target: int, length: int) -> None:
        """Makes the target share the first `length` cells of the source, which uses no more cells."""
        self.keep(target, 0)
        count = self._cut(source, length)
        runs = self._sequences.get(source, [])[:count]
        for run in runs:
            run.holders.add(target)
        if runs:
            self._sequences[target] = list(runs)
