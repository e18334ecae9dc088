"""Asking many at once: the result as a value, and the bookkeeping that decides when it is complete. No I/O."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from three_mode.errors import ThreeModeError


@dataclass(frozen=True)
class Gathered:
    """What came of asking many: iterate over it for the values. Partial results are results."""

    values: dict[str, Any] = field(default_factory=dict)
    """Agent -> what it answered."""
    errors: dict[str, ThreeModeError] = field(default_factory=dict)
    """Agent -> why it did not."""
    missing: tuple[str, ...] = ()
    """Agents that had not answered when time ran out or the quorum was reached."""
    quorum: int | None = None

    @property
    def complete(self) -> bool:
        return not self.errors and not self.missing

    @property
    def reached(self) -> bool:
        """Whether as many answered as were needed: the quorum, or without one all."""
        needed = len(self.errors) + len(self.missing) if self.quorum is None else self.quorum - len(self.values)
        return needed <= 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values.values())

    def __len__(self) -> int:
        return len(self.values)


class Tally:
    """Counts answers until the quorum, or all, are in. `done` is called once."""

    __slots__ = ("_done", "_needed", "errors", "names", "open", "quorum", "values")

    def __init__(self, names: Sequence[str], quorum: int | None, done: Callable[[], None]) -> None:
        self.names, self.quorum = names, quorum
        self.open = dict.fromkeys(names)
        self.values: dict[str, Any] = {}
        self.errors: dict[str, ThreeModeError] = {}
        self._needed = len(self.open) if quorum is None else quorum
        self._done: Callable[[], None] | None = done

    def answer(self, name: str, value: Any) -> None:
        if name in self.open:
            del self.open[name]
            self.values[name] = value
            self._look()

    def fail(self, name: str, error: ThreeModeError) -> None:
        if name in self.open:
            del self.open[name]
            self.errors[name] = error
            self._look()

    def fail_open(self, names: Sequence[str], error: Callable[[str], ThreeModeError]) -> None:
        for name in names:
            if name in self.open:
                self.fail(name, error(name))

    def _look(self) -> None:
        if self._done is None:
            return
        if not self.open or len(self.values) >= self._needed:
            done, self._done = self._done, None
            done()

    def result(self) -> Gathered:
        self._done = None
        return Gathered(self.values, self.errors, tuple(self.open), self.quorum)
