"""The harness counts, compares, stores and draws what it is given."""

import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import _h2load
from benchmarks.__main__ import main
from benchmarks.bus_peers import floor
from benchmarks.bus_peers.board import Children
from benchmarks.harness import (
    FLOOR,
    Context,
    Missing,
    Result,
    Row,
    Target,
    alternate,
    registry,
    report,
    shares,
    store,
    table,
    timing,
)
from benchmarks.harness.headlines import HEADLINES
from benchmarks.harness.machine import describe
from benchmarks.harness.pace import pace
from benchmarks.harness.runner import run_command
from tests.support.processes import lives

CASE = "echo"


def result(ours: float = 10.0, theirs: float = 100.0, at_most: float = 0.2) -> Result:
    return Result(
        name="demo",
        summary="a demo",
        machine=describe(),
        rows=[
            Row(case=CASE, subject="three-mode", unit="us", samples=[ours, ours, ours * 50]),
            Row(case=CASE, subject="peer", unit="us", samples=[theirs] * 3),
        ],
        missing=[Missing(case=CASE, subject="other", how_to_get="pip install other")],
        targets=[
            Target(case=CASE, subject="three-mode", peer="peer", at_most=at_most),
            Target(case=CASE, subject="three-mode", at_most=11.0),
            Target(case=CASE, subject="three-mode", peer="other", at_least=2.0),
        ],
    )


def test_targets_are_ratios_of_medians() -> None:
    first, second, third = result().verdicts()
    assert (first.value, first.met) == (0.1, True)
    assert (second.value, second.met) == (10.0, True)
    assert (third.value, third.met) == (None, None)
    assert result(ours=30.0).verdicts()[0].met is False


def test_a_result_comes_back_from_json_and_is_compared(tmp_path: Path) -> None:
    store.save([result(ours=20.0)], tmp_path / "before.json")
    before = store.load(tmp_path / "before.json")["demo"]
    assert before == result(ours=20.0)
    told = json.loads((tmp_path / "before.json").read_text())[0]
    assert told["rows"][0]["median"] == 20.0
    assert told["verdicts"][0]["met"] is True

    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    table.show(console, result(), before)
    console.file.close()
    shown = console.export_text()
    assert "0.50" in shown, "half of what it was"
    assert "pip install other" in shown
    assert "not measured" in shown


def test_subjects_take_turns() -> None:
    order: list[str] = []

    def subject(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = alternate({"a": lambda: subject("a"), "b": lambda: subject("b")}, rounds=3, warm_up=1)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [len(values) for values in samples.values()] == [3, 3]


def test_subjects_take_turns_block_by_block() -> None:
    order: list[str] = []

    def subject(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = alternate({"a": lambda: subject("a"), "b": lambda: subject("b")}, rounds=2, warm_up=0, block=3)
    assert "".join(order) == "aaabbb" + "bbbaaa"
    assert samples == {"a": [1, 2, 3, 10, 11, 12], "b": [4, 5, 6, 7, 8, 9]}


def test_quick_takes_a_tenth() -> None:
    assert (Context(quick=True).rounds(100), Context().rounds(100), Context(quick=True).rounds(5)) == (
        10,
        100,
        3,
    )


@pytest.mark.parametrize("name", registry.names())
def test_every_benchmark_can_be_loaded_and_says_what_it_measures(name: str) -> None:
    found = registry.load(name)
    assert found.summary


def test_a_run_from_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "benchmarks", "codecs", "--quick", "--json", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    assert store.load(out)["codecs"].rows
    listing = subprocess.run([sys.executable, "-m", "benchmarks"], check=True, capture_output=True, text=True)
    assert "codecs" in listing.stdout
    wrong = subprocess.run([*command[:3], "nothing"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "codecs" in wrong.stdout.partition("there are")[2]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    from benchmarks.harness.picture import draw

    draw(result(), tmp_path / "demo.svg")
    assert "three-mode" in (tmp_path / "demo.svg").read_text()


def test_what_grows_is_drawn_as_a_curve(tmp_path: Path) -> None:
    from benchmarks.harness.picture import draw

    grown = result()
    grown.rows += [
        Row(
            case=f"{count}: gather",
            subject="three-mode",
            unit="ms",
            samples=[count / 100],
            curve="gather",
            at=count,
        )
        for count in (100, 1000)
    ]
    draw(grown, tmp_path / "demo.svg")
    picture = (tmp_path / "demo.svg").read_text()
    assert "gather (ms)" in picture
    assert "1000: gather" not in picture  # a point of the curve, not a bar
    draw(Result(name="only", summary="", machine=describe(), rows=grown.rows[2:]), tmp_path / "only.svg")
    assert "gather (ms)" in (tmp_path / "only.svg").read_text()


def test_a_whole_run_has_twenty_minutes_and_every_benchmark_its_share() -> None:
    assert set(shares.SECONDS) == {*registry.names(), shares.MICRO}
    assert sum(shares.SECONDS.values()) <= shares.TOGETHER


def test_one_that_takes_too_long_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    """Also a child that its own child would outlive."""
    told = tmp_path / "pid"
    assert run_command(["sh", "-c", f"sleep 60 & echo $! > {told}; wait"], 6.0) is None
    child = int(told.read_text())
    for _ in range(200):  # a killed process is gone a moment later
        if not lives(child):
            break
        time.sleep(0.05)
    assert not lives(child)
    assert run_command([sys.executable, "-c", "raise SystemExit(3)"], 30.0) == 3


def test_several_run_apart_and_keep_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, names = tmp_path / "out.json", ["codecs", "tools_loop"]
    monkeypatch.setattr(sys, "argv", ["python -m benchmarks", *names, "--quick", "--json", str(out)])
    monkeypatch.setattr(shares, "PATIENCE", 60.0)  # on a busy machine none is stopped
    assert main() == 0
    found = store.load(out)
    assert list(found) == names
    assert all(each.seconds > 0 and each.rows for each in found.values())
    assert "2 of 2: tools_loop" in capsys.readouterr().out


def test_a_report_says_ratios_first_and_misses_too() -> None:
    text = report.render_details({"demo": result(ours=30.0)})
    ratios, figures = text.split("**Figures of this machine**")
    assert "0.300 x, missed" in ratios
    assert "not measured" in ratios
    assert "| at most 11.0 us | 30.0 us, missed |" in figures
    assert "pip install other" in figures
    headline = report.Headline("an echo", "the peer", "demo", CASE, "three-mode", "peer")
    front = report.render_front({"demo": result()}, [headline])
    assert "| an echo | the peer | **0.100 x** | at most 0.200 x |" in front
    assert "2 of 3 targets were met, 0 missed, 1 not measured" in front


def test_the_pace_of_each_benchmark_is_told_beside_the_best_of_the_run() -> None:
    fast, slow, unknown = result(), result(), result()
    fast.machine["pace_us"] = pace([60e-6, 50e-6, 80e-6])
    slow.machine["pace_us"] = pace([100e-6])
    fast.machine["load"] = slow.machine["load"] = unknown.machine["load"] = 0.5
    assert fast.machine["pace_us"] == {"median": 60.0, "fastest": 50.0}
    found = {"fast": fast, "slow": replace(slow, name="slow"), "old": replace(unknown, name="old")}
    told = report.render_details(found).splitlines()[-1]
    assert "`demo` 0 (0.5, 83%), `slow` 0 (0.5, 50%), `old` 0 (0.5); " in told


def test_the_pace_is_taken_between_rounds() -> None:
    with timing.within(60.0) as budget:
        alternate({"a": lambda: 1.0}, rounds=5, warm_up=1)
    assert len(budget.beats) == 6
    assert all(0 < beat < 0.1 for beat in budget.beats)


def test_a_document_keeps_all_but_what_is_between_its_markers() -> None:
    text = f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n"
    assert report.replaced(text, "new") == f"above\n{report.BEGIN}\nnew\n{report.END}\nbelow\n"
    with pytest.raises(ValueError, match="the document has no"):
        report.replaced("no markers", "new")


def test_the_documents_say_what_the_run_in_the_repository_found() -> None:
    results = store.load(report.RESULTS)
    for path, text in report.documents(results).items():
        assert path.read_text() == text, f"{path.name}: run `python -m benchmarks report`"


@pytest.mark.parametrize("headline", HEADLINES, ids=lambda one: one.what)
def test_a_headline_is_a_target_of_a_benchmark(headline: report.Headline) -> None:
    wanted = {(target.case, target.subject, target.peer) for target in registry.load(headline.benchmark).targets}
    assert (headline.case, headline.subject, headline.peer) in wanted


def test_a_share_that_is_over_leaves_enough_rounds_for_a_median() -> None:
    with timing.within(-1.0):
        assert len(alternate({"a": lambda: 1.0}, rounds=100)["a"]) == timing.LEAST
        assert len(alternate({"a": lambda: 1.0}, rounds=3)["a"]) == 3
    with timing.within(3600.0):
        assert len(alternate({"a": lambda: 1.0}, rounds=100)["a"]) == 100


def test_a_table_says_how_far_each_subject_is_above_the_floor() -> None:
    rows = [
        *result().rows,
        Row(case=CASE, subject=FLOOR, unit="us", samples=[4.0]),
        Row(case="other", subject="three-mode", unit="us", samples=[7.0]),
    ]
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(table.render(replace(result(), rows=rows)))
    cells = {tuple(line.split()[:2]): line.split()[-1] for line in console.export_text().splitlines() if line.strip()}
    assert cells["case", "subject"] == "floor"
    assert (cells[CASE, "three-mode"], cells[CASE, "peer"], cells["other", "three-mode"]) == ("2.50", "25.00", "-")


@pytest.mark.parametrize(("start", "words"), [(floor.wakes, (3, 2)), (floor.pings, (2,)), (floor.pings, (1,))])
def test_the_floor_wakes_processes_and_says_when(start: Callable[..., floor.Floor], words: tuple[int, ...]) -> None:
    with Children() as children:
        running = start(children, *words)
        for count in (1, 5):
            times = list(running.rounds(count, pause=0.001, nap=0.0001))
            assert len(times) == count
            assert all(0 < time.first <= time.last and time.rung > 0 for time in times)


def test_what_h2load_says_is_read() -> None:
    counts = "requests: 500 total, 500 started, 500 done, 500 succeeded, 0 failed, 0 errored, 0 timeout\n"
    assert _h2load.read(f"finished in 250.00ms, 2000.00 req/s, 1.2MB/s\n{counts}") == (500, 0.25)
    assert _h2load.read(f"finished in 2.00s, 250.00 req/s, 1.2MB/s\n{counts}").seconds == 2.0
    for said in ("", counts, f"finished in 2.00s\n{counts.replace('0 failed', '3 failed')}"):
        with pytest.raises(RuntimeError):
            _h2load.read(said)
