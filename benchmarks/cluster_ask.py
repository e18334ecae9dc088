"""Asks from one node to another, one after another, beside request and reply of nats-py, calls of grpc.aio, and Ray."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator

from benchmarks._cluster_cast import Echo
from benchmarks._cluster_field import GET_SERVER, ROOT, ClusterField, Program, server_program
from benchmarks.bus_peers.board import PAYLOAD
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

CALLS = 300
ASK, SLOW = "ask across nodes, no delay", "ask across nodes, 0.5 ms to and from the server"
CPU = "processor time for a call, at the node that answers: the gateway"
US, NATS, GRPC = "three-mode", "nats-py, request and reply", "grpc.aio, without a server between"
RAY = "Ray, an actor on a second raylet, on loopback"
GET_RAY = "python3 scripts/venv.py bench"
HALF = 0.0005
HAS_NATS = importlib.util.find_spec("nats") is not None
HAS_GRPC = importlib.util.find_spec("grpc") is not None


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not server_program() or not HAS_NATS:
        yield Missing(case=ASK, subject=US, how_to_get=f"{GET_SERVER}; pip install 'three-mode[cluster]'")
        return
    yield from _rows(context, ASK, 0.0, context.rounds(40))
    yield from _rows(context, SLOW, HALF, context.rounds(10))
    if not HAS_GRPC:
        yield Missing(case=ASK, subject=GRPC, how_to_get="pip install grpcio")


def _ray() -> Program | None:
    """Ray's program; None where there is none, or Ray does not start here."""
    if importlib.util.find_spec("ray") is None:
        return None
    command = [sys.executable, str(ROOT / "benchmarks/_ray_cast.py"), str(CALLS), json.dumps(PAYLOAD)]
    try:
        return Program(command, {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"})
    except RuntimeError:
        return None


def _rows(context: Context, case: str, delay: float, rounds: int) -> Iterator[Row | Missing]:
    context.progress(case)
    with ClusterField("left", "right", delay=delay) as field:
        echo = field.start("right", "agents", field.url, "right", Echo.__name__, 1, core=1)
        bare = field.start("right", "echo_nats", field.url, core=1)
        askers = {
            US: field.start("left", "ask_agent", field.url, "right", CALLS, core=0),
            NATS: field.start("left", "ask_nats", field.url, CALLS, core=0),
        }
        if HAS_GRPC and not delay:
            address = f"{field.address('right')}:{field.free_port('right')}"
            field.start("right", "echo_grpc", address, core=1)
            askers[GRPC] = field.start("left", "ask_grpc", address, CALLS, core=0)
        ray = None if delay else _ray()
        if ray is not None:
            askers[RAY] = ray
            field.closes(ray)
        cpu: dict[str, list[float]] = {US: [], NATS: []}
        subjects: dict[str, Callable[[], float]] = {name: asker.seconds for name, asker in askers.items()}
        subjects[US] = _with_cpu(askers[US], echo, cpu[US])
        subjects[NATS] = _with_cpu(askers[NATS], bare, cpu[NATS])
        for name, took in alternate(subjects, rounds, warm_up=2).items():
            yield Row(case=case, subject=name, unit="us", samples=[1e6 * s for s in took], note=field.note)
        if not delay:
            for name, samples in cpu.items():
                yield Row(case=CPU, subject=name, unit="us", samples=[1e6 * s for s in samples[2:]], note=field.note)
            if ray is None:
                yield Missing(case=ASK, subject=RAY, how_to_get=GET_RAY)


def _with_cpu(asker: Program, server: Program, cpu: list[float]) -> Callable[[], float]:
    """Sample of a round that also notes the processor time of the process that answers."""

    def sample() -> float:
        before = server.seconds()
        took = asker.seconds()
        cpu.append((server.seconds() - before) / CALLS)
        return took

    return sample


BENCHMARK = Benchmark(
    summary="ask with a 100-byte dict and one number back, from a node to an agent of another, one after another",
    run=run,
    targets=[
        Target(case=ASK, subject=US, peer=NATS, at_most=1.6),
        Target(case=ASK, subject=US, peer=GRPC, at_most=1.0),
        Target(case=ASK, subject=US, peer=RAY, at_most=1.0),
        Target(case=SLOW, subject=US, peer=NATS, at_most=1.6),
    ],
    notes=(
        "Each machine is a network namespace where they are allowed, with the server in one of its own. The agent is "
        "in a host process behind the gateway: a call of three-mode also crosses the bus of each node. The programs "
        "that ask are on one core, those that answer on another; the server is on any. grpc.aio "
        "connects both machines directly, without a server between them. Ray's raylets are both on one machine, on "
        "any core. The gateway's processor time is that of its "
        "whole process, its heartbeats included."
    ),
)
