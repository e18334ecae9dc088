"""A node is killed: how long until callers of its agents are told, and its agents answer elsewhere, with the default
options."""

import importlib.util
import os
import signal
import time
from collections.abc import Iterator

from benchmarks._cluster_cast import Echo
from benchmarks._cluster_field import GET_SERVER, ClusterField, server_program
from benchmarks.harness import Benchmark, Context, Missing, Row, Target

CASE, US = "kill -9 of a node, until all callers of its agents are told", "three-mode"
MOVES = "kill -9 of a node, until an agent that was placed there answers from another one"
CALLERS = 100


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not server_program() or importlib.util.find_spec("nats") is None:
        yield Missing(case=CASE, subject=US, how_to_get=f"{GET_SERVER}; pip install 'three-mode[cluster]'")
        return
    samples = []
    with ClusterField("left", "right") as field:
        caller = field.start("left", "lose", field.url, "right", CALLERS)
        for number in range(context.rounds(8)):
            context.progress(f"node {number + 1}")
            node = field.start("right", "agents", field.url, "right", Echo.__name__, 1)
            caller.say()
            caller.hear()  # the calls wait now
            time.sleep(number * 0.067 % 0.25)  # at any time between two heartbeats
            killed = time.monotonic()
            os.kill(node.pid, signal.SIGKILL)
            caller.say(str(killed))
            samples.append(float(caller.hear()))
        note = field.note
    yield Row(case=CASE, subject=US, unit="s", samples=samples, note=note)
    yield Row(case=CASE, subject="three-mode, the slowest", unit="s", samples=[max(samples)], note=note)
    samples = []
    with ClusterField("left", "right") as field:
        nodes = {name: field.start("right", "takes_orders", field.url, name, "far") for name in ("one", "two")}
        home = field.start("left", "moves", field.url, "far")
        for number in range(context.rounds(8)):
            context.progress(f"move {number + 1}")
            home.say()
            lost = home.hear()
            time.sleep(number * 0.067 % 0.25)
            killed = time.monotonic()
            os.kill(nodes.pop(lost).pid, signal.SIGKILL)
            home.say(str(killed))
            samples.append(float(home.hear()))
            name = f"after{number}"
            nodes[name] = field.start("right", "takes_orders", field.url, name, "far")
    yield Row(case=MOVES, subject=US, unit="s", samples=samples, note=note)
    yield Row(case=MOVES, subject="three-mode, the slowest", unit="s", samples=[max(samples)], note=note)


BENCHMARK = Benchmark(
    summary="time from kill -9 of a node to PeerLost at a hundred callers of another, and to answers from elsewhere",
    run=run,
    targets=[
        Target(case=CASE, subject="three-mode, the slowest", at_most=3.0),
        Target(case=MOVES, subject="three-mode, the slowest", at_most=5.0),
    ],
    notes=(
        "Heartbeats are a quarter of a second apart, and a node is lost 2.5 seconds after the last of them: of a "
        "node that is killed at any time between two, callers are told after 2.25 to 2.5 seconds. "
        "An agent that moves was placed on the node by its home, and is made anew on another one."
    ),
)
