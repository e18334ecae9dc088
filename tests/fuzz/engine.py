"""Fuzzes targets, each in a process of its own, and says what came of it.

The native part is built for it with clang: with the address and undefined-behaviour sanitizers, and marked so that new
ways through the C count like those through Python. Targets of rings run on that build, all others on the usual one.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.fuzz.corpus import FOLDER

ROOT = Path(__file__).resolve().parents[2]
NATIVE = frozenset(("ring_records", "ring_written", "ring_pages"))
MEMORY = 2_048  # MiB of one process
HANG = 25  # seconds of one input
GRACE = 600.0  # seconds beyond its time for a process to start and to end, on a machine that others use too
_EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)|^#(\d+)\t", re.MULTILINE)
_COVERED = re.compile(r"^#\d+\t.*cov: (\d+)", re.MULTILINE)
_NEW = re.compile(r"^stat::new_units_added: +(\d+)", re.MULTILINE)
CLANG = ("clang", "clang-19", "clang-16", "clang-14")


class FuzzOutcome(msgspec.Struct, frozen=True):
    """What came of one target."""

    target: str
    executions: int
    covered: int  #: places in the code that inputs reached
    new_inputs: int  #: inputs that reached new code
    finding: str = ""  #: file with the input that was wrong; "" where none was
    said: str = ""  #: the end of what the process said, where it found something

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.finding and not self.said


@dataclass(frozen=True, kw_only=True)
class FuzzOptions:
    """How long, where findings go, and who is told of the progress."""

    seconds: int = 60  #: for each target
    findings: Path = ROOT / "build" / "fuzz"  #: a file for each input that was wrong
    progress: Callable[[str, int], None] = lambda target, executions: None  #: called as a target goes on


def fuzz(target: str, options: FuzzOptions, native: dict[str, str]) -> FuzzOutcome:
    """Fuzz one target. `native`: the environment with the marked build of the rings, from `build_native`."""
    options.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        new, found = Path(folder) / "new", Path(folder) / "found"
        new.mkdir()
        found.mkdir()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.fuzz.child",
                target,
                folder,
                str(new),
                *([str(FOLDER / target)] if (FOLDER / target).exists() else []),
                f"-max_total_time={options.seconds}",
                f"-artifact_prefix={found}/",
                f"-timeout={HANG}",
                f"-rss_limit_mb={MEMORY}",
                f"-max_len={_longest(target)}",
                "-print_final_stats=1",
            ],
            cwd=native.get("PYTHONPATH", ROOT) if target in NATIVE else ROOT,
            env={**os.environ, **(native if target in NATIVE else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        said = _follow(process, target, options)
        executed = max((int(one or other) for one, other in _EXECUTED.findall(said)), default=0)
        covered = max(map(int, _COVERED.findall(said)), default=0)
        added = sum(map(int, _NEW.findall(said)))
        outcome = FuzzOutcome(target, executed, covered, added)
        wrong = sorted(found.iterdir())
        if not wrong and process.returncode == 0 and executed:
            return outcome
        kept = ""
        if wrong:
            kept = str(shutil.copy(wrong[0], options.findings / f"{target.replace(':', '-')}-{wrong[0].name[:20]}"))
        return msgspec.structs.replace(outcome, finding=kept, said=_end_of(said))


def _longest(target: str) -> int:
    from tests.fuzz.targets import target_of  # what they import is much, and of no use to who reads outcomes

    return target_of(target).longest


def _follow(process: "subprocess.Popen[str]", target: str, options: FuzzOptions) -> str:
    """What the process says until it has ended, which it must within its time and some grace."""
    assert process.stdout is not None
    lines = []
    ends = threading.Timer(options.seconds + GRACE, process.kill)
    ends.start()
    try:
        with process:
            for line in process.stdout:
                lines.append(line)
                found = _EXECUTED.match(line)
                if found is not None:
                    options.progress(target, int(found[1] or found[2]))
    finally:
        ends.cancel()
        process.kill()
    return "".join(lines)


def _end_of(said: str) -> str:
    """What a person wants to read of it: from the error on."""
    found = [at for mark in ("Uncaught Python exception", "ERROR: ", "runtime error:") if (at := said.find(mark)) >= 0]
    return said[min(found) :][:6000] if found else said[-3000:]


def build_native(folder: Path) -> dict[str, str]:
    """Build the rings for the fuzzer beside a copy of the package; return the environment to run it in.

    RuntimeError where there is no clang: `.ci/packages clang`.
    """
    compiler = next((found for name in CLANG if (found := shutil.which(name))), None)
    if compiler is None:
        raise RuntimeError("no clang is installed, which marks the native part for the fuzzer: .ci/packages clang")
    for part in ("transports", "three_mode", "local_models", "tests", "proto"):
        shutil.copytree(
            ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.so", "__pycache__", "corpus", "node_modules")
        )
    (folder / "tests" / "fuzz" / "corpus").symlink_to(FOLDER)
    include = subprocess.check_output(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))"], text=True
    ).strip()
    objects = []
    for source in sorted((folder / "transports/bus/native").glob("*.c")):
        objects.append(source.with_suffix(".o"))
        subprocess.run(
            [
                compiler,
                "-c",
                "-std=c11",
                "-D_GNU_SOURCE",
                "-DPy_LIMITED_API=0x030B0000",
                "-O1",
                "-g",
                "-fPIC",
                "-fsanitize=address,undefined,fuzzer-no-link",
                "-fno-sanitize-recover=undefined",
                f"-I{include}",
                str(source),
                "-o",
                str(objects[-1]),
            ],
            check=True,
        )
    # What the sanitizers need is in the library of atheris, which is loaded before all others.
    library = str(folder / "transports/bus/_ring.abi3.so")
    subprocess.run([compiler, "-shared", *map(str, objects), "-o", library], check=True)
    import atheris

    return {
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(folder),
    }
