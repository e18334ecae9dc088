"""The memory order of rings, pages and large payloads: every interleaving of what the C does, on three machines.

The steps are quoted from the C (`tests/support/bus/memory_order/tables.py`). x86, where these tests mostly run, keeps
nearly all of them in order, and would hide a missing barrier for ever; the weak machine does not.
"""

from collections.abc import Callable
from functools import partial

import pytest

from tests.support.bus.memory_order.machine import Machine, Step, explore
from tests.support.bus.memory_order.programs import PROGRAMS, Program, with_mistake
from tests.support.bus.memory_order.rows import Row, Rows, behind, missing, relaxed, without
from tests.support.bus.memory_order.tables import ALL

MACHINES: tuple[Machine, ...] = ("SC", "TSO", "WEAK")


def test_the_tables_say_what_the_c_says() -> None:
    assert [line for rows in ALL.values() for line in missing(rows)] == []


def test_a_line_that_the_c_does_not_have_or_has_earlier_is_found() -> None:
    put = ALL["PUT"]
    assert missing((Row("writer.c bus_put", "no such line"),)) == ["writer.c bus_put: no such line"]
    assert missing((Row("writer.c no_such_function", "x"),)) == ["writer.c no_such_function: x"]
    assert missing((put[1], put[4], put[0])) == [f"{put[0].place}: {put[0].line} (it comes earlier)"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_it_holds_in_every_order(program: Program, machine: Machine) -> None:
    explored = explore(machine, *program.make(ALL))
    assert explored.wrong is None, "\n".join(map(str, (explored.wrong.found, *explored.wrong.steps)))
    assert explored.ends > 1, "the threads never met: it shows nothing"


# table, mistake, the mildest machine on which it shows
MISTAKES: dict[str, tuple[str, Callable[[Rows], Rows], Machine]] = {
    "no barrier behind the new oldest": ("PUT", partial(without, part="release"), "WEAK"),
    "the tail goes out in any order": ("PUT", partial(relaxed, part="ring->tail"), "WEAK"),
    "oldest is stored behind the copy": ("PUT", partial(behind, part="ring->oldest", other="memcpy(to, body"), "SC"),
    "the tail goes out before the body": ("PUT", partial(behind, part="memcpy(to, body", other="ring->tail"), "SC"),
    "the tail is read in any order": ("TAKE", partial(relaxed, part="ring->tail"), "WEAK"),
    "no barrier before the header is checked": ("TAKE", partial(without, part="acquire"), "WEAK"),
    "no barrier before the body is checked": ("TAKE", partial(without, part="acquire", number=1), "WEAK"),
    "oldest is read before the body": ("TAKE", partial(behind, part="copy_bytes", other="oldest again"), "SC"),
    "bounds in any order": ("BOUNDS", partial(relaxed, part="ring->oldest"), "WEAK"),
    "no barrier before the bells": ("RING", partial(without, part="seq_cst"), "TSO"),
    "the bells are looked at first": ("RING", partial(behind, part="ring->tail", other="b->parks"), "SC"),
    "no barrier behind lying down": ("PARK", partial(without, part="seq_cst"), "WEAK"),
    "it looks before it lies down": ("PARK", partial(behind, part="sleepers", other="ring->tail"), "SC"),
    "no barrier behind a pair's lying down": ("PARK_PAIR", partial(without, part="seq_cst"), "WEAK"),
    "no barrier behind wanting room": ("WANT_ROOM", partial(without, part="seq_cst"), "WEAK"),
    "no barrier behind moving on": ("MOVE_ON", partial(without, part="seq_cst"), "TSO"),
    "moves on before it has read": ("GATED_TAKE", partial(behind, part="copy_bytes", other="pair_position"), "SC"),
    "moves on in any order": ("GATED_TAKE", partial(relaxed, part="pair_position"), "WEAK"),
    "no barrier behind the odd generation": ("FILL", partial(without, part="release"), "WEAK"),
    "generation and reference go out in any order": (
        "FILL",
        lambda rows: relaxed(relaxed(rows, "generation + 1"), "ring->tail"),
        "WEAK",
    ),
    "no barrier before the generation again": ("COPY", partial(without, part="acquire"), "WEAK"),
    "the generation is not looked at again in time": (
        "COPY",
        partial(behind, part="memcpy", other="memory_order_relaxed) != generation"),
        "SC",
    ),
}

MISTAKES |= {
    "gaps are read before how far it is": ("ENTRY", partial(behind, part="handled", other="gaps again"), "SC"),
    "no barrier before gaps are counted again": ("ENTRY", partial(without, part="acquire"), "WEAK"),
    "no barrier before a gap is written": ("NOTE_GAP", partial(without, part="release"), "WEAK"),
    "a gap is counted before it is written": ("NOTE_GAP", partial(behind, part=".last", other="entry->gaps"), "SC"),
    "how far it is goes out in any order": ("NOTE_GAP", partial(relaxed, part="handled"), "WEAK"),
    "what was released is read before its ring": ("RELEASED", partial(behind, part="ring", other="released"), "SC"),
    "what was released is cleared late": ("CLEAR", partial(behind, part="released", other="ring"), "SC"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    table, change, first = MISTAKES[mistake]
    tables = with_mistake(table, change)
    programs = [program for program in PROGRAMS if program.uses(table)]
    wrong = {machine: [p.name for p in programs if explore(machine, *p.make(tables)).wrong] for machine in MACHINES}
    found = [machine for machine in MACHINES if wrong[machine]]
    assert found == list(MACHINES[MACHINES.index(first) :]), wrong


def test_the_machines_are_those_of_the_textbooks() -> None:
    """Store buffering, message passing and load buffering: what each machine allows."""

    def steps(*each: tuple[str, str]) -> list[Step]:
        return [
            Step("load", "relaxed", word, into=word)
            if kind == "load"
            else Step("store", "relaxed", word, value=lambda _: 1)
            for kind, word in each
        ]

    def both(first: list[Step], second: list[Step], ends: tuple[int, int]) -> list[str]:
        def holds(found: object, _: object) -> bool:
            values = [value for each in found for value in each.values()]  # type: ignore[attr-defined]
            return tuple(values) != ends

        return [m for m in MACHINES if explore(m, (first, second), {"x": 0, "y": 0}, holds).wrong]  # type: ignore[arg-type]

    store_buffering = steps(("store", "x"), ("load", "y")), steps(("store", "y"), ("load", "x"))
    assert both(*store_buffering, (0, 0)) == ["TSO", "WEAK"]
    message_passing = steps(("store", "x"), ("store", "y")), steps(("load", "y"), ("load", "x"))
    found = explore(
        "WEAK", message_passing, {"x": 0, "y": 0}, lambda found, _: (found[1]["y"], found[1]["x"]) != (1, 0)
    )
    assert found.wrong is not None
    for machine in ("SC", "TSO"):
        kept = explore(
            machine,  # type: ignore[arg-type]
            message_passing,
            {"x": 0, "y": 0},
            lambda found, _: (found[1]["y"], found[1]["x"]) != (1, 0),
        )
        assert kept.wrong is None
    load_buffering = steps(("load", "x"), ("store", "y")), steps(("load", "y"), ("store", "x"))
    assert both(*load_buffering, (1, 1)) == ["WEAK"]
