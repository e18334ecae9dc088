"""Subjects of the endpoint's benchmarks: `three-mode serve` and other makers' gateways, each started by its command."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks._http2_server import free_port
from benchmarks._peers import how_to_get, program

ROOT = Path(__file__).resolve().parent.parent
STARTED = 60.0  # seconds that a subject has to start
KEY = "k"  # litellm needs one; both endpoints check it
LITELLM, HOW_TO_GET_LITELLM = program("litellm", "litellm"), how_to_get("litellm")
FERROGW, HOW_TO_GET_FERROGW = program("ferrogw", "ferrogw"), how_to_get("ferrogw")
_CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: {upstream}/v1, api_key: {key}}}
general_settings: {{master_key: sk-{key}}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""


@dataclass(frozen=True)
class Endpoint:
    """Endpoint, by its URL, its key and its process. `workers` are processes of it beside that one."""

    url: str
    key: str
    pid: int
    workers: tuple[int, ...] = ()

    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads of the processes, user and kernel."""
        # clock_getcpuclockid(3), which Python lacks
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in (self.pid, *self.workers))


def litellm_there() -> bool:
    """Whether litellm is installed."""
    return LITELLM.exists()


@contextmanager
def three_mode(bus: str, upstream: str, workers: int = 1) -> Iterator[Endpoint]:
    """Runs `three-mode serve`; without a bus, where that is empty."""
    port = free_port()
    command = [sys.executable, "-m", "three_mode.cli", "serve", "--port", str(port), "--workers", str(workers)]
    command += ["--base-url", f"{upstream}/v1", *(["--bus", bus] if bus else [])]
    with _running(command, port, "/healthz", {"THREE_MODE_API_KEYS": KEY}) as pid:
        yield Endpoint(f"http://127.0.0.1:{port}", KEY, pid, _workers(pid, workers))


@contextmanager
def litellm(folder: Path, upstream: str, workers: int = 1) -> Iterator[Endpoint]:
    """Runs litellm's proxy."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(_CONFIG.format(upstream=upstream, key=KEY))
    command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # The first keeps its start off the network; the others follow its page on production.
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    with _running([*command, "--num_workers", str(workers)], port, "/health/liveliness", settings) as pid:
        yield Endpoint(f"http://127.0.0.1:{port}", f"sk-{KEY}", pid, _workers(pid, workers))


@contextmanager
def ferrogw(folder: Path, upstream: str) -> Iterator[Endpoint]:
    """Runs ferrogw, a gateway in Go: one process on all cores."""
    port = free_port()
    config = folder / "ferrogw.yaml"
    config.write_text("strategy: {mode: single}\ntargets: [{virtual_key: openai}]\n")
    key = f"fgw_{KEY * 40}"
    settings = {"PORT": str(port), "MASTER_KEY": key, "GATEWAY_CONFIG": str(config)}
    settings |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": upstream}
    # No line for each request, no limit of requests a second, and its start stays off the network.
    settings |= {"LOG_LEVEL": "error", "RATE_LIMIT_RPS": "0", "FERRO_MODEL_CATALOG_URL": upstream}
    with _running([str(FERROGW), "serve"], port, "/readyz", settings) as pid:
        yield Endpoint(f"http://127.0.0.1:{port}", key, pid)


def _workers(pid: int, count: int) -> tuple[int, ...]:
    """The processes below a server that has so many workers, if they are others than itself."""
    if count == 1:
        return ()
    until = time.monotonic() + STARTED
    before: set[psutil.Process] = set()
    while True:  # what is there at two looks is a worker; a start has others, which end
        found = set(psutil.Process(pid).children(recursive=True))
        if len(stay := found & before) >= count or time.monotonic() > until:
            return tuple(child.pid for child in stay)
        before = found
        time.sleep(1.0)


@contextmanager
def _running(command: list[str], port: int, health: str, settings: dict[str, str]) -> Iterator[int]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stdout=quiet, stderr=quiet)
    try:
        _wait_for(f"http://127.0.0.1:{port}{health}", process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + STARTED
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  # loopback, and ours
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not come up")
