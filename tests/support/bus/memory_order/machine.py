"""Every order in which a machine may perform the steps of a few threads, and what they find then.

A thread is a row of steps: loads, stores and fences of words that it shares with others. A machine performs a step as
soon as all steps that it must keep in front of it are done, and all threads look at one memory. Three machines differ
in what they keep in order:

- `SC` all, as no machine does. What fails here is wrong on every machine.
- `TSO` all but a load behind a store of another word: x86, whose stores wait in a buffer.
- `WEAK` only what the order of a step, a fence, one word or a dependency asks for: ARM, and what a compiler may make
  of C11.

`explore` performs them in every order, without doing the same twice from one state.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Machine = Literal["SC", "TSO", "WEAK"]
Kind = Literal["load", "store", "rmw", "fence"]
Order = Literal["plain", "relaxed", "acquire", "release", "acq_rel", "seq_cst"]
Found = Mapping[str, int]
"""What a thread has loaded, by name."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a thread. `value` and `when` of a store look at what was loaded before; `needs` names it."""

    kind: Kind
    order: Order
    word: str = ""
    into: str = ""
    value: Callable[[Found], int] | None = None
    when: Callable[[Found], bool] | None = None
    needs: tuple[str, ...] = ()
    line: str = ""

    @property
    def reads(self) -> bool:
        return self.kind in ("load", "rmw")

    @property
    def writes(self) -> bool:
        return self.kind in ("store", "rmw")

    def __str__(self) -> str:
        return self.line or f"{self.kind} {self.word} ({self.order})"


Thread = Sequence[Step]


def must_wait(machine: Machine, before: Step, between: Sequence[Step], after: Step) -> bool:
    """Whether `after` is performed behind `before`, which comes earlier in its thread."""
    if machine == "SC" or before.word == after.word:
        return True
    if before.into and before.into in after.needs and (after.writes or after.value is not None):
        return True  # a store depends on what was loaded, or on whether it is reached
    fences = {step.order for step in between if step.kind == "fence"}
    if "seq_cst" in fences:
        return True
    if machine == "TSO":
        # On x86 a store that is seq_cst, like a read that writes, is a locked instruction and empties the buffer.
        waits_in_buffer = before.kind == "store" and before.order != "seq_cst"
        return not (waits_in_buffer and after.kind == "load")
    if before.reads and before.order in ("acquire", "acq_rel", "seq_cst") and not (before.writes and not after.writes):
        return True  # of a read that writes, the write may come after a later load
    if after.writes and after.order in ("release", "acq_rel", "seq_cst"):
        return True
    if fences & {"release", "acq_rel"} and after.writes:
        return True
    return bool(fences & {"acquire", "acq_rel"}) and before.reads


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one order ended: what each thread has loaded, and the steps in the order in which they were performed."""

    found: tuple[Found, ...]
    memory: Found
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explored:
    """How many states there are, and an order whose end `holds` refused, if there is one."""

    states: int
    ends: int
    wrong: Outcome | None


def explore(
    machine: Machine,
    threads: Sequence[Thread],
    memory: Mapping[str, int],
    holds: Callable[[Sequence[Found], Found], bool],
) -> Explored:
    """Perform the threads in every order; stop at the first end that does not hold."""
    programs = [_Program(machine, thread) for thread in threads]
    words = sorted(memory)
    start = (tuple(0 for _ in programs), tuple(memory[word] for word in words), tuple(() for _ in programs))
    seen = {start}
    todo: list[tuple[tuple, tuple[str, ...]]] = [(start, ())]  # type: ignore[type-arg]  # done, memory, found
    ends = 0
    while todo:
        state, way = todo.pop()
        done, values, found = state
        ended = True
        for number, program in enumerate(programs):
            for place in program.ready(done[number]):
                ended = False
                following = program.perform(place, dict(zip(words, values, strict=True)), dict(found[number]))
                memory_now, found_now = following
                new = (
                    _with(done, number, done[number] | 1 << place),
                    tuple(memory_now[word] for word in words),
                    _with(found, number, tuple(sorted(found_now.items()))),
                )
                if new not in seen:
                    seen.add(new)
                    todo.append((new, (*way, f"{number}: {program.steps[place]}")))
        if ended:
            ends += 1
            loaded = tuple(dict(each) for each in found)
            last = dict(zip(words, values, strict=True))
            if not holds(loaded, last):
                return Explored(len(seen), ends, Outcome(loaded, last, way))
    return Explored(len(seen), ends, None)


class _Program:
    """A thread, and which of its steps each step waits for."""

    def __init__(self, machine: Machine, thread: Thread) -> None:
        self.steps = [step for step in thread if step.kind != "fence"]
        places = [place for place, step in enumerate(thread) if step.kind != "fence"]
        self._waits = []
        for late, after in enumerate(places):
            mask = 0
            for early, before in enumerate(places[:late]):
                if must_wait(machine, thread[before], thread[before + 1 : after], thread[after]):
                    mask |= 1 << early
            self._waits.append(mask)

    def ready(self, done: int) -> Iterator[int]:
        """Places of the steps that may be performed now."""
        for place, mask in enumerate(self._waits):
            if not done >> place & 1 and mask & ~done == 0:
                yield place

    def perform(
        self, place: int, memory: dict[str, int], found: dict[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        step = self.steps[place]
        if step.when is not None and step.writes and not step.when(found):
            return memory, found  # it is not reached
        if step.reads:
            found[step.into] = memory[step.word]
        if step.writes:
            assert step.value is not None
            memory[step.word] = step.value(found)
        return memory, found


def _with(row: tuple, place: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*row[:place], value, *row[place + 1 :])
