"""Subjects of the endpoint's benchmark: `three-mode serve` and litellm's proxy, each started by its command."""

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

from benchmarks._http2_server import free_port

ROOT = Path(__file__).resolve().parent.parent
KEY = "k"  # litellm needs one; both endpoints check it
LITELLM = ROOT / "build" / "litellm" / "bin" / "litellm"
HOW_TO_GET_LITELLM = "python3 -m venv build/litellm && build/litellm/bin/pip install 'litellm[proxy]'"
_CONFIG = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: {upstream}/v1, api_key: {key}}}
general_settings: {{master_key: sk-{key}}}
litellm_settings: {{num_retries: 0, telemetry: false}}
"""


@dataclass(frozen=True)
class Endpoint:
    """Endpoint, by its URL, its key and its process."""

    url: str
    key: str
    pid: int

    def cpu(self) -> float:
        """Seconds of processor time so far, of all threads of the process, user and kernel."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks


def litellm_there() -> bool:
    """Whether litellm is installed."""
    return LITELLM.exists()


@contextmanager
def three_mode(bus: str, upstream: str) -> Iterator[Endpoint]:
    """Runs `three-mode serve`."""
    port = free_port()
    command = [sys.executable, "-m", "three_mode.cli", "serve", "--port", str(port), "--bus", bus]
    command += ["--base-url", f"{upstream}/v1"]
    with _running(command, port, "/healthz", {"THREE_MODE_API_KEYS": KEY}) as pid:
        yield Endpoint(f"http://127.0.0.1:{port}", KEY, pid)


@contextmanager
def litellm(folder: Path, upstream: str) -> Iterator[Endpoint]:
    """Runs litellm's proxy with one worker: ours is one process too."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(_CONFIG.format(upstream=upstream, key=KEY))
    command = [str(LITELLM), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # The first keeps its start off the network; the others follow its page on production.
    settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    with _running([*command, "--num_workers", "1"], port, "/health/liveliness", settings) as pid:
        yield Endpoint(f"http://127.0.0.1:{port}", f"sk-{KEY}", pid)


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
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310  # loopback, and ours
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not come up")
