"""Store of results as JSON."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.model import Missing, Result, Row, Target

_NUMBERS = re.compile(r"\[\s+((?:-?[\d.][-+\d.e]*,?\s+)+)\]")  # puts the samples of a row on one line


def save(results: list[Result], path: Path) -> None:
    """Writes results to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps([plain(result) for result in results], indent=1)
    path.write_text(_NUMBERS.sub(lambda found: "[" + ", ".join(found[1].split()).replace(",,", ",") + "]", text) + "\n")


def plain(result: Result) -> dict[str, Any]:
    """Returns a result as plain data, with medians and verdicts."""
    return {
        **asdict(result),
        "rows": [_plain_row(row) for row in result.rows],
        "verdicts": [asdict(verdict) for verdict in result.verdicts()],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    """Returns a row as plain data; six digits are more than any clock resolves."""
    samples = [float(f"{sample:.6g}") for sample in row.samples]
    return {**asdict(row), "samples": samples, "median": row.median, "p95": row.p95}


def load(path: Path) -> dict[str, Result]:
    """Reads the results of a file, by name."""
    return {entry["name"]: _result(entry) for entry in json.loads(path.read_text())}


def _result(entry: dict[str, Any]) -> Result:
    rows = [Row(**{k: v for k, v in row.items() if k not in ("median", "p95")}) for row in entry["rows"]]
    return Result(
        name=entry["name"],
        summary=entry["summary"],
        machine=entry["machine"],
        rows=rows,
        missing=[Missing(**missing) for missing in entry["missing"]],
        targets=[Target(**target) for target in entry["targets"]],
        notes=entry["notes"],
        seconds=entry.get("seconds", 0.0),
    )
