"""`make test` runs two pytest processes, and says of both together what pytest would have said."""

import sys
from pathlib import Path

import pytest

from scripts.run_tests import ANY_SPEED, ROOT, Ended, run, summed_up

PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio", "-ra")


def test_one_line_counts_both() -> None:
    first = Ended(0, "== 6000 passed, 40 deselected, 1 warning in 701.20s (0:11:41) ==\nsys:1: ResourceWarning: a file")
    assert summed_up([first, Ended(0, "== 2190 passed, 6 deselected, 1 warning in 1500.00s (0:25:00) ==")], 1503.5) == (
        "========= 8190 passed, 46 deselected, 2 warnings in 1503.50s (0:25:03) ========="
    )
    failed = Ended(1, "= 2 failed, 5 passed, 1 skipped, 1 error in 3.10s =")
    assert " 2 failed, 6005 passed, 1 skipped, 40 deselected, 1 warning, 1 error in 9.00s " in summed_up(
        [first, failed], 9.0
    )


@pytest.mark.parametrize("last", ["", "Segmentation fault", "=== 5 passed in 1.00s ===", "no tests ran in 0.01s"])
def test_a_process_that_fails_without_saying_why_is_an_error(last: str) -> None:
    assert Ended(-11, last).counts["error"] == 1
    assert " 1 error in 1.00s " in summed_up([Ended(0, ""), Ended(-11, last)], 1.0).replace("5 passed, ", "")


def test_one_failure_fails_both(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "test_good.py", tmp_path / "test_bad.py"
    good.write_text("def test_a(): pass\ndef test_b(): pass\n")
    skipped = "@pytest.mark.skip('later')\ndef test_e(): pass\n"
    bad.write_text(f"import pytest\ndef test_c(): pass\ndef test_d(): assert 0\n{skipped}")
    assert run((*PYTEST, str(bad)), (*PYTEST, str(good))) == 1
    said = capfd.readouterr().out
    assert said.index("test_good.py .") < said.index("test_bad.py .") < said.index("\nSKIPPED [1]")
    assert " 1 failed, 3 passed, 1 skipped in " in said.splitlines()[-1]
    assert run((*PYTEST, str(good)), (*PYTEST, str(good))) == 0
    assert " 4 passed in " in capfd.readouterr().out.splitlines()[-1]


def test_the_folders_are_there() -> None:
    assert [path for path in ANY_SPEED if not (ROOT / path).is_dir()] == []
