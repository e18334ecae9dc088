"""What must hold of each table, whatever the order: small programs of two threads, and the end that each must have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.support.bus.memory_order.machine import Found, Step
from tests.support.bus.memory_order.rows import Rows, change, load, named, store, thread
from tests.support.bus.memory_order.tables import ALL, GAPS
from transports.bus.rings.receipts import verdict

Tables = Mapping[str, Rows]
Made = tuple[Sequence[Sequence[Step]], Mapping[str, int], Callable[[Sequence[Found], Found], bool]]


@dataclass(frozen=True, slots=True)
class Program:
    """Threads made of tables, the memory that they begin with, and what holds at every end."""

    name: str
    make: Callable[[Tables], Made]

    def uses(self, table: str) -> bool:
        """Whether its threads are made of that table."""
        try:
            self.make({name: rows for name, rows in ALL.items() if name != table})
        except KeyError:
            return True
        return False


def put(tables: Tables, number: int, capacity: int) -> tuple[Step, ...]:
    """Record `number`, from 1, into a ring of so many, over the one that was there."""
    slot = (number - 1) % capacity
    return named(
        tables["PUT"],
        {
            "oldest": store("oldest", number - capacity),
            "header": store(f"header {slot}", number),
            "body": store(f"body {slot}", number),
            "tail": store("tail", number),
        },
    )


def whole_or_refused(wanted: int) -> Program:
    """A ring of two records that holds 1 and 2; a writer adds three more, and a reader takes `wanted`."""
    slot = (wanted - 1) % 2

    def make(tables: Tables) -> Made:
        writer = put(tables, 3, 2) + put(tables, 4, 2) + put(tables, 5, 2)
        reader = named(
            tables["TAKE"],
            {
                "tail": load("tail"),
                "header": load(f"header {slot}", "header"),
                "oldest": load("oldest"),
                "body": load(f"body {slot}", "body"),
                "oldest again": load("oldest", "oldest again"),
            },
        )
        memory = {"oldest": 0, "tail": 2} | {f"{part} {n}": n + 1 for part in ("header", "body") for n in (0, 1)}

        def holds(found: Sequence[Found], _: Found) -> bool:
            took = found[1]
            if took["tail"] < wanted or took["oldest"] > wanted - 1:
                return True
            return took["header"] == wanted and (took["oldest again"] > wanted - 1 or took["body"] == wanted)

        return (writer, reader), memory, holds

    return Program(f"record {wanted} is whole or refused", make)


def _sound(tables: Tables) -> Made:
    """A ring of two records, full, and three more."""
    capacity = 2
    writer = put(tables, 3, capacity) + put(tables, 4, capacity) + put(tables, 5, capacity)
    reader = named(
        tables["BOUNDS"],
        {"tail before": load("tail", "before"), "oldest": load("oldest"), "tail": load("tail")},
    )
    memory = {"oldest": 0, "tail": 2} | {f"{part} {n}": n + 1 for part in ("header", "body") for n in range(capacity)}

    def holds(found: Sequence[Found], _: Found) -> bool:
        before, oldest, tail = (found[1][name] for name in ("before", "oldest", "tail"))
        return oldest <= tail and before <= tail and (oldest > before or before - oldest <= capacity)

    return (writer, reader), memory, holds


def _rung(tables: Tables) -> Made:
    """A reader of broadcasts lies down while a record comes."""
    writer = named(tables["RING"], {"tail": store("tail", 1), "asleep": load("asleep"), "parks": load("parks")})
    reader = _park(tables)

    def holds(found: Sequence[Found], _: Found) -> bool:
        sleeps = found[1]["tail"] == 0
        return not sleeps or bool(found[0]["asleep"])

    return (writer, reader), {"tail": 0, "asleep": 0, "parks": 0}, holds


def _rung_again(tables: Tables) -> Made:
    """It was rung for record 1, stands up, takes what there is, and lies down once more while record 2 comes."""
    writer = named(tables["RING"], {"tail": store("tail", 2), "asleep": load("asleep"), "parks": load("parks")})
    stands_up = thread(tables["STAND_UP"], change("asleep", "was asleep", lambda _: 0))
    takes = thread((tables["TAKE"][0], tables["TAKE"][1]), load("tail", "taken"))
    reader = stands_up + takes + _park(tables)

    def holds(found: Sequence[Found], _: Found) -> bool:
        sleeps = found[1]["tail"] == found[1]["taken"]
        rung = bool(found[0]["asleep"]) and found[0]["parks"] != 1  # it has rung for the first sleep
        return not sleeps or found[1]["taken"] == 2 or rung

    return (writer, reader), {"tail": 1, "asleep": 1, "parks": 1}, holds


def _park(tables: Tables) -> tuple[Step, ...]:
    return named(
        tables["PARK"],
        {
            "asleep": change("asleep", "before", lambda bits: bits | 1),
            "parks": change("parks", "slept", lambda count: count + 1),
            "tail": load("tail"),
        },
    )


def _pair_rung(tables: Tables) -> Made:
    """The reader of a pair lies down while a record comes: who is asleep, and for which sleep, is one word."""
    looks = {"asleep": load("parked", "asleep"), "parks": load("parked")}
    writer = named(tables["RING"], {"tail": store("tail", 1), **looks})
    reader = named(tables["PARK_PAIR"], {"parked": store("parked", 1), "tail": load("tail")})

    def holds(found: Sequence[Found], _: Found) -> bool:
        return found[1]["tail"] == 1 or bool(found[0]["asleep"] & 1)

    return (writer, reader), {"tail": 0, "parked": 0}, holds


def _told_of_room(tables: Tables) -> Made:
    """A writer without room says so while the reader moves on."""
    writer = named(tables["WANT_ROOM"], {"waiting": store("waiting", 1), "position": load("position")})
    reader = named(tables["MOVE_ON"], {"position": store("position", 1), "waiting": load("waiting")})

    def holds(found: Sequence[Found], _: Found) -> bool:
        return bool(found[0]["position"] or found[1]["waiting"])

    return (writer, reader), {"waiting": 0, "position": 0}, holds


def _never_lapped(tables: Tables) -> Made:
    """The writer of a ring of one record waits for its reader before it puts another over it."""

    def room(found: Found) -> bool:
        return found["position"] >= 1

    def held(word: str, value: int):  # type: ignore[no-untyped-def]
        return store(word, value, room, ("position",))

    writer = named(
        tables["GATED_PUT"],
        {
            "position": load("position"),
            "oldest": held("oldest", 1),
            "header": held("header 0", 2),
            "body": held("body 0", 2),
            "tail": held("tail", 2),
        },
    )
    reader = named(
        tables["GATED_TAKE"],
        {"body": load("body 0", "body"), "oldest": load("oldest"), "position": store("position", 1)},
    )

    def holds(found: Sequence[Found], _: Found) -> bool:
        return found[1]["body"] == 1 and found[1]["oldest"] == 0

    return (writer, reader), {"oldest": 0, "tail": 1, "header 0": 1, "body 0": 1, "position": 0}, holds


def _large_whole(tables: Tables) -> Made:
    """A segment holds payload 1, of generation 2; payload 2 is written over it while a reader copies either."""
    halves = ("first half", "second half")
    writer = named(
        tables["FILL"],
        {
            "odd": store("generation", 3),
            **{half: store(half, 2) for half in halves},
            "even": store("generation", 4),
            "tail": store("tail", 4),
        },
    )
    reader = named(
        tables["COPY"],
        {
            "tail": load("tail", "wanted"),
            "before": load("generation", "before"),
            **{half: load(half) for half in halves},
            "after": load("generation", "after"),
        },
    )
    memory = {"tail": 2, "generation": 2, "first half": 1, "second half": 1}

    def holds(found: Sequence[Found], _: Found) -> bool:
        took = found[1]
        accepted = took["wanted"] == took["before"] == took["after"]
        return not accepted or {took[half] for half in halves} == {took["wanted"] // 2}

    return (writer, reader), memory, holds


def _told_as_lost(tables: Tables) -> Made:
    """An entry with three gaps, of messages 1 to 3; its owner notes that 10 and 11 are lost, and has handled both. A
    receipt asks about message 10, which must not count as seen."""
    begin = {"gaps": GAPS, "handled": 9} | {f"{part} {n}": n + 1 for part in ("first", "last") for n in range(GAPS)}
    lost = {3: 10, 4: 11}  # number of the gap -> its message
    owner: tuple[Step, ...] = ()
    for gap, message in lost.items():
        accesses = {part: store(f"{part} {gap % GAPS}", message) for part in ("first", "last")}
        accesses |= {"gaps": store("gaps", gap + 1), "handled": store("handled", message)}
        owner += named(tables["NOTE_GAP"], accesses)
    words = {name: load(name) for name in begin}
    reader = named(tables["ENTRY"], {**words, "gaps again": load("gaps", "gaps again")})

    def holds(found: Sequence[Found], _: Found) -> bool:
        seen = found[1]
        gaps = seen["gaps"]
        if gaps != seen["gaps again"]:
            return True  # it looks again
        listed = [(seen[f"first {n % GAPS}"], seen[f"last {n % GAPS}"]) for n in range(gaps - GAPS + 1, gaps)]
        true = [(message, message) for message in (lost.get(n, n + 1) for n in range(gaps - GAPS + 1, gaps))]
        page = _Page((1, 0, seen["handled"], 0, gaps, listed, 0, 0, 0))
        return listed == true and verdict(page, 0, 1, 10) != "seen"  # type: ignore[arg-type]

    return (owner, reader), begin, holds


class _Page:
    """A page whose entries say this."""

    def __init__(self, entry: tuple[object, ...]) -> None:
        self._entry = entry

    def entry(self, slot: int) -> tuple[object, ...]:
        return self._entry


def _released_of_this_ring(tables: Tables) -> Made:
    """A reader has released 5 large payloads of a pair that was given back, and reads the next one from now on."""
    reader = named(tables["CLEAR"], {"released": store("released", 0), "ring": store("ring", 2)})
    writer = named(tables["RELEASED"], {"ring": load("ring"), "released": load("released")})

    def holds(found: Sequence[Found], _: Found) -> bool:
        return found[1]["ring"] != 2 or found[1]["released"] == 0

    return (reader, writer), {"ring": 1, "released": 5}, holds


PROGRAMS = (
    *(whole_or_refused(wanted) for wanted in (1, 2, 3, 4)),
    Program("a sound ring is not called broken", _sound),
    Program("who sleeps was rung", _rung),
    Program("who sleeps again was rung again", _rung_again),
    Program("the reader of a pair was rung", _pair_rung),
    Program("a writer that waits for room is told of it", _told_of_room),
    Program("a reader that is waited for is not lapped", _never_lapped),
    Program("a large payload is whole or refused", _large_whole),
    Program("a message that is lost never counts as seen", _told_as_lost),
    Program("what was released of another ring does not count", _released_of_this_ring),
)


def with_mistake(name: str, change_of: Callable[[Rows], Rows]) -> Tables:
    """All tables, one of them with a mistake."""
    return {**ALL, name: change_of(ALL[name])}
