"""A recording of 1,000,000 messages in the page: how long until it is shown, and how long a step takes."""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Row, Target
from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import HEAD, Did, Ended, Got, Made, pack
from three_mode.agents.recording.replay import load
from three_mode.agents.wire.importing import ClassPath
from three_mode.page.recordings.film import Film

MESSAGES, AGENTS = 1_000_000, 512
OPEN = "open, up to the first records shown"
OPEN_TENTH = "open a tenth of it, up to the first records shown"
ALL = "index all of it"
STEP, MESSAGE, TIME = "step to a place and its turn", "an agent's next message and its turn", "a time and its turn"
STATES, REQUEST = "states of all agents at a place", "the request of a record as a tree"
OURS, LOADED = "three-mode", "load() of all events"


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        messages = MESSAGES // 10 if context.quick else MESSAGES
        context.progress(f"writing {messages} messages")
        path, tenth = Path(folder) / "run.rec", Path(folder) / "tenth.rec"
        write(path, messages)
        write(tenth, messages // 10)
        yield from opening(context, path, tenth)
        yield from stepping(context, Film(path))


def opening(context: Context, path: Path, tenth: Path) -> Iterator[Row]:
    """Opens the file anew each time, without waiting for its index."""
    context.progress(OPEN)
    for case, file in ((OPEN, path), (OPEN_TENTH, tenth)):
        yield Row(case=case, subject=OURS, unit="ms", samples=[opened(file) for _ in range(context.rounds(7))])
    yield Row(case=OPEN_TENTH, subject=LOADED, unit="ms", samples=[timed(lambda: load(tenth)) for _ in range(3)])


def opened(path: Path) -> float:
    """Milliseconds until the first records are there; the thread that indexes the rest runs meanwhile."""
    films: list[Film] = []

    def show() -> None:
        films.append(Film(path))
        films[0].about()
        films[0].lines(0)
        films[0].turn(0)

    took = timed(show)
    films[0].stop()
    return took


def stepping(context: Context, film: Film) -> Iterator[Row]:
    """Steps through a film that is indexed."""
    context.progress(ALL)
    yield Row(case=ALL, subject=OURS, unit="ms", samples=[timed(lambda: indexed(film))])
    places, count = random.Random(7), film.records
    begin, end = film.about().begin, film.about().end

    def step() -> None:
        at = places.randrange(count)
        film.lines(at)
        film.turn(at)

    def message() -> None:
        at = film.step(places.randrange(count), f"scout/{places.randrange(AGENTS)}", back=bool(places.randrange(2)))
        film.lines(at or 0)
        film.turn(at or 0)

    def at_time() -> None:
        at = film.at_time(places.uniform(begin, end))
        film.lines(at)
        film.turn(at)

    steps: dict[str, Callable[[], object]] = {
        STEP: step,
        MESSAGE: message,
        TIME: at_time,
        STATES: lambda: film.agents(places.randrange(count)),
        REQUEST: lambda: film.request(places.randrange(AGENTS, count)),
    }
    for case, act in steps.items():
        context.progress(case)
        yield Row(
            case=case, subject=OURS, unit="ms", samples=[timed(act) for _ in range(context.rounds(100, least=20))]
        )
    film.stop()


def indexed(film: Film) -> None:
    """Waits for the thread that indexes."""
    while film.index.known < film.records:
        time.sleep(0.005)


def timed(act: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    began = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - began)


def write(path: Path, messages: int) -> None:
    """Writes a run of agents that get messages one after another; each fourth one asks another agent."""
    choice, when, turns = random.Random(3), 1.8e9, [0] * AGENTS
    call, result = encode(["some words to score", 3]), encode({"score": 0.5})
    asked = encode(["market/0", "quote", call])
    with path.open("wb") as out:
        out.write(HEAD)
        for number in range(AGENTS):
            out.write(pack(Made(f"scout/{number}", when, ClassPath("program", "Scout"), encode([]), 7)))
        for number in range(messages):
            agent = choice.randrange(AGENTS)
            turns[agent] += 1
            name, turn, when = f"scout/{agent}", turns[agent], when + 50e-6
            out.write(pack(Got(name, when, turn, "score", call, False, False, "orchestrator")))
            if number % 4 == 0:
                out.write(pack(Did(name, when + 10e-6, turn, "ask", asked, result, True)))
            out.write(pack(Ended(name, when + 20e-6, turn, "result", result)))


BENCHMARK = Benchmark(
    summary="a recording of 1,000,000 messages in the page: until it is shown, and each step",
    run=run,
    targets=[
        Target(case=OPEN, subject=OURS, at_most=2000.0),
        Target(case=OPEN_TENTH, subject=OURS, peer=LOADED, at_most=0.5),
        *(Target(case=case, subject=OURS, at_most=50.0) for case in (STEP, MESSAGE, TIME, STATES)),
    ],
    notes=(
        f"{AGENTS} agents; 2.25 records a message. The file is in the page cache. A thread indexes the rest while the "
        "first places are shown: states of agents are known as far as it came, everything else from the beginning. "
        "Steps are taken once all is indexed, at places by chance; what the browser draws is not in it. A quick run "
        "has a tenth of the messages."
    ),
)
