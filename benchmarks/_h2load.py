"""Load by h2load, a generator in C: so many connections that each send one request after another, for a time."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

HOW_TO_GET = "apt-get install nghttp2-client, which brings h2load"
_DONE = re.compile(r"^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", re.M)
_TOOK = re.compile(r"^finished in ([\d.]+)(us|ms|s)\b", re.M)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Load(NamedTuple):
    """Requests that were answered, and the seconds that they took together."""

    answered: int
    seconds: float


def installed() -> bool:
    """Whether h2load is on the path."""
    return shutil.which("h2load") is not None


def post(url: str, body: Path, headers: dict[str, str], at_once: int, seconds: float) -> Load:
    """Posts a body over HTTP/1.1. RuntimeError where an answer is none."""
    command = ["h2load", "--h1", f"-c{at_once}", "-t1", f"-D{seconds:g}", f"-d{body}"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    return read(done.stdout)


def read(said: str) -> Load:
    """What h2load says at its end."""
    counts, took = _DONE.search(said), _TOOK.search(said)
    if counts is None or took is None:
        raise RuntimeError(f"h2load said {said[-500:]!r}")
    answered, succeeded, failed, errored = map(int, counts.groups())
    if failed or errored or succeeded != answered or not answered:
        raise RuntimeError(f"not all requests were answered: {said[-500:]!r}")
    return Load(answered, float(took[1]) * _UNITS[took[2]])
