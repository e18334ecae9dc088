"""How many cells of a shared KV pool are in use, counting a cell that several sequences share once. Pure.

A sequence is a list of runs. Copying a beginning to another sequence makes both refer to the same runs; a run is split where
a copy or a trim ends inside it, for all who refer to it.
"""


class _Run:
    __slots__ = ("holders", "length")

    def __init__(self, length: int, holders: set[int]) -> None:
        self.length = length
        self.holders = holders


class KvCells:
    def __init__(self) -> None:
        self._sequences: dict[int, list[_Run]] = {}
        self.used = 0

    def length(self, sequence: int) -> int:
        return sum(run.length for run in self._sequences.get(sequence, ()))

    def own(self, sequence: int) -> int:
        """Cells that would be free if this sequence went."""
        return sum(run.length for run in self._sequences.get(sequence, ()) if len(run.holders) == 1)

    def grow(self, sequence: int, count: int) -> None:
        if count <= 0:
            return
        runs = self._sequences.setdefault(sequence, [])
        if runs and len(runs[-1].holders) == 1:
            runs[-1].length += count
        else:
            runs.append(_Run(count, {sequence}))
        self.used += count

    def _cut(self, sequence: int, length: int) -> int:
        """Makes a run end at `length`; gives the number of runs before it."""
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
        """Forgets all from `length` on."""
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
        """The target becomes the first `length` cells of the source, at no cost."""
        self.keep(target, 0)
        count = self._cut(source, length)
        runs = self._sequences.get(source, [])[:count]
        for run in runs:
            run.holders.add(target)
        if runs:
            self._sequences[target] = list(runs)
