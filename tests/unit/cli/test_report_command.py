"""`three-mode report`: the sums of records files, for people and for programs; what cannot be read is said."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.calls.parts import asking
from three_mode.cli import main
from three_mode.errors import RateLimit
from three_mode.messages import LLMResponse, Usage
from three_mode.observe import AttemptUse, CallFigures, RecordOptions, RecordWriter


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "calls.jsonl"
    writer = RecordWriter(RecordOptions(path=path))
    for number in range(30):
        usage = Usage(100, 10, cost=Decimal("0.25") if number % 2 else None)
        model = f"m{number % 2}"
        figures = CallFigures(
            request_id=f"call_{number}",
            provider="openai",
            model=model,
            latency=0.5,
            first_content=0.1,
            label=f"label {number}",
            route="trial",
            side=f"openai/{model}",
            used=(AttemptUse("openai", model, usage),),
        )
        writer.record(figures, asking(), LLMResponse.of("Hello"))
    figures = CallFigures(
        request_id="last",
        provider="openai",
        model="m0",
        latency=1.0,
        first_content=None,
        outcome="failed",
        error_kind="RateLimit",
    )
    writer.record(figures, asking(), error=RateLimit("slow down"))
    writer.close()
    return path


def test_a_program_gets_all_of_it(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(records), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["total"]["requests"], found["total"]["answered"]) == (31, 30)
    assert (found["total"]["cost"], found["total"]["unpriced"]) == ("3.75", 15)
    assert found["total"]["errors"] == {"RateLimit": 1}
    assert found["by_model"]["rows"]["openai/m1"]["usage"]["input_tokens"] == 1500
    assert found["by_side"]["rows"]["trial: openai/m0"]["cost"] is None
    assert len(found["by_label"]["rows"]) == 30
    assert main(["report", str(records), str(records), "--json", "--by", "model"]) == 0
    twice = json.loads(capsys.readouterr().out)
    assert (twice["total"]["requests"], twice["by_label"]["rows"]) == (62, {})


def test_people_get_tables(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(records), "--most", "3"]) == 0
    said = capsys.readouterr().out
    for words in ("by provider", "by side", "trial: openai/m1", "3.7500+?", "unknown", "... 27 more", "1 RateLimit"):
        assert words in said, words
    assert "(none)" in said, "the call without a label"
    assert "by conversation" not in said


def test_lines_that_are_no_records_are_counted(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = records.read_bytes()
    records.write_bytes(whole[:200] + b"\n" + b'{"other": 1}\n\xff\xfe\n\n' + whole[:-40])
    assert main(["report", str(records), "--json", "--by", "provider"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["total"]["requests"], found["unreadable"]) == (30, 4)
    assert main(["report", str(records)]) == 0
    assert "4 lines could not be read" in capsys.readouterr().out


def test_a_file_that_is_not_there_and_a_dimension_that_there_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path / "none")]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["report", "x", "--by", "user"])
    assert ended.value.code == 2
