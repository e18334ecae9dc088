"""Handlers are typed: mypy accepts right calls, sees the types of their answers, and refuses each wrong call."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CASES = ROOT / "tests" / "data" / "typing"
EXPECTED = re.compile(r"# E: (?P<codes>[a-z -]+)$")
FOUND = re.compile(r"^[^:]+:(?P<line>\d+): error: .*\[(?P<code>[a-z-]+)\]$")


def errors_of(name: str) -> dict[int, Counter[str]]:
    """Line -> how often mypy reports each error code there."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--hide-error-context", str(CASES / name)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, Counter[str]] = {}
    for line in done.stdout.splitlines():
        error = FOUND.match(line)
        if error is not None:
            found.setdefault(int(error["line"]), Counter())[error["code"]] += 1
    assert bool(found) is bool(done.returncode), done.stdout
    return found


def expected_of(name: str) -> dict[int, Counter[str]]:
    """Line -> the error codes that the file itself says it has there."""
    expected = {}
    for number, line in enumerate((CASES / name).read_text().splitlines(), 1):
        said = EXPECTED.search(line)
        if said is not None:
            expected[number] = Counter(said["codes"].split())
    return expected


def test_right_calls_are_accepted_and_their_answers_have_types() -> None:
    assert errors_of("right_calls.py") == {}


def test_each_wrong_call_is_an_error_of_its_code() -> None:
    expected = expected_of("wrong_calls.py")
    assert len(expected) > 30
    assert errors_of("wrong_calls.py") == expected


def test_calls_without_a_loop_have_types_too() -> None:
    assert errors_of("sync_calls.py") == expected_of("sync_calls.py")


def test_calls_by_the_names_of_documents_have_types() -> None:
    expected = expected_of("compat_calls.py")
    assert len(expected) == 4
    assert errors_of("compat_calls.py") == expected
