"""Broadcasts over two nodes, until all handlers have run, beside nats-py with a subscription for each reader."""

import importlib.util
from collections.abc import Callable, Iterator

from benchmarks._cluster_cast import Reader
from benchmarks._cluster_field import GET_SERVER, ClusterField, Program, server_program
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

AGENTS = 512
HERE = AGENTS // 2  # agents of one machine
BROADCASTS = 10  # in one sample
CASE = f"broadcast to {AGENTS} on 2 machines, until all handlers have run"
SLOW = f"{CASE}, 0.5 ms to and from the server"
US, NATS = "three-mode", "nats-py, a subscription each"
HALF = 0.0005


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not server_program() or importlib.util.find_spec("nats") is None:
        yield Missing(case=CASE, subject=US, how_to_get=f"{GET_SERVER}; pip install 'three-mode[cluster]'")
        return
    for case, delay, rounds in ((CASE, 0.0, context.rounds(40)), (SLOW, HALF, context.rounds(10))):
        context.progress(case)
        with ClusterField("left", "right", delay=delay) as field:
            field.start("right", "agents", field.url, "right", Reader.__name__, HERE, core=1)
            field.start("right", "read_nats", field.url, HERE, core=1)
            field.start("left", "read_nats", field.url, HERE, core=0)
            publishers = {
                US: field.start("left", "publish_to_agents", field.url, "right", HERE, core=0),
                NATS: field.start("left", "publish_nats", field.url, core=0),
            }
            subjects = {name: _sample(field, publisher) for name, publisher in publishers.items()}
            for name, took in alternate(subjects, rounds, warm_up=2).items():
                yield Row(case=case, subject=name, unit="us", samples=[1e6 * s for s in took], note=field.note)


def _sample(field: ClusterField, publisher: Program) -> Callable[[], float]:
    def sample() -> float:
        nanoseconds = 0
        for _ in range(BROADCASTS):
            started = int(publisher.round())
            nanoseconds += field.last_end(2) - started
        return nanoseconds / 1e9 / BROADCASTS

    return sample


BENCHMARK = Benchmark(
    summary="broadcast of a 100-byte dict to 512 agents on two nodes",
    run=run,
    targets=[
        Target(case=CASE, subject=US, peer=NATS, at_most=0.2),
        Target(case=SLOW, subject=US, peer=NATS, at_most=0.5),
    ],
    notes=(
        "256 readers are on the publisher's machine and 256 on the other, in one process each. From just before the "
        "publish until the last handler of the last process has run, by the clock that all namespaces share. All "
        "handlers are Python functions that count; the payload is msgpack, which three-mode decodes once in a process, "
        "and each callback of nats-py for itself. With a delay both pay the same way, which is most of the time then."
    ),
)
