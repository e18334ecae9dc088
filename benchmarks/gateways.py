"""Gateways with one provider behind each, under 64 callers: requests a second on all cores, CPU time a request."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import _h2load
from benchmarks._http2_server import ROOT, free_port, wait_for
from benchmarks._serve_subjects import (
    FERROGW,
    HOW_TO_GET_FERROGW,
    HOW_TO_GET_LITELLM,
    Endpoint,
    ferrogw,
    litellm,
    litellm_there,
    three_mode,
)
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

AT_ONCE = 64
WORKERS = max(2, len(os.sched_getaffinity(0)))
RATE = f"requests a second, {AT_ONCE} at once, a provider behind"
CPU = f"processor time of the gateway for a request, {AT_ONCE} at once"
OURS, ONE = f"three-mode, {WORKERS} workers", "three-mode, one process"
FERRO, LITELLM = "ferrogw", f"litellm's proxy, {WORKERS} workers"
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello!"}]}'


@contextmanager
def provider() -> Iterator[str]:
    """The URL of the provider, in a process of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "benchmarks._provider", str(port)], cwd=ROOT)
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def sample(endpoint: Endpoint, body: Path, seconds: float, cpu: list[float]) -> Callable[[], float]:
    """Sample of requests a second; the gateway's processor time for one is appended to `cpu`."""
    headers = {"authorization": f"Bearer {endpoint.key}", "content-type": "application/json"}

    def take() -> float:
        spent = endpoint.cpu()
        load = _h2load.post(f"{endpoint.url}/v1/chat/completions", body, headers, AT_ONCE, seconds)
        cpu.append((endpoint.cpu() - spent) / load.answered)
        return load.answered / load.seconds

    return take


def measure(context: Context, folder: Path) -> Iterator[Row]:
    """Measures all gateways in turn."""
    warm, seconds = 1, 1.0 if context.quick else 2.0
    (body := folder / "request.json").write_bytes(BODY)
    with ExitStack() as stack:
        context.progress("starting the provider and the gateways")
        upstream = stack.enter_context(provider())
        subjects = {
            OURS: stack.enter_context(three_mode("", upstream, WORKERS)),
            ONE: stack.enter_context(three_mode("", upstream)),
        }
        if FERROGW.exists():
            subjects[FERRO] = stack.enter_context(ferrogw(folder, upstream))
        if litellm_there():
            subjects[LITELLM] = stack.enter_context(litellm(folder, upstream, WORKERS))
        time.sleep(1.0)  # what starts is still busy with that
        cpu: dict[str, list[float]] = {name: [] for name in subjects}
        context.progress("asking")
        rates = alternate(
            {name: sample(endpoint, body, seconds, cpu[name]) for name, endpoint in subjects.items()},
            context.rounds(5),
            warm_up=warm,
        )
    for name in subjects:
        yield Row(case=RATE, subject=name, unit="1/s", samples=rates[name], higher_is_better=True)
    for name in subjects:
        yield Row(case=CPU, subject=name, unit="us", samples=[1e6 * spent for spent in cpu[name][warm:]])


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not _h2load.installed():
        yield Missing(case=RATE, subject=OURS, how_to_get=_h2load.HOW_TO_GET)
        return
    with TemporaryDirectory() as folder:
        yield from measure(context, Path(folder))
    if not FERROGW.exists():
        yield Missing(case=RATE, subject=FERRO, how_to_get=HOW_TO_GET_FERROGW)
    if not litellm_there():
        yield Missing(case=RATE, subject=LITELLM, how_to_get=HOW_TO_GET_LITELLM)


BENCHMARK = Benchmark(
    summary="the endpoint with a provider behind it, beside other makers' gateways",
    run=run,
    targets=[
        Target(case=RATE, subject=OURS, peer=FERRO, at_least=1.0),
        Target(case=RATE, subject=OURS, peer=LITELLM, at_least=50.0),
    ],
    notes=(
        "Each gateway may use all cores: ours and litellm's proxy with a worker a core, ferrogw with Go's threads. "
        "It checks a key, finds the provider of the model and asks it with another key, over HTTP/1.1 on both sides, "
        "and writes no line for a request. The load is h2load's, in C; the provider gives a constant answer (uvloop, a "
        "process of its own). Both share the machine with the gateway, which costs the faster ones more. Processor "
        "time is that of all processes of a gateway, user and kernel."
    ),
)
