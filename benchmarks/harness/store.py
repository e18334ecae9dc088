"""Results as JSON, and two of them side by side."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness.model import Missing, Result, Row, Target


def save(results: list[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([plain(result) for result in results], indent=1) + "\n")


def plain(result: Result) -> dict[str, Any]:
    """Data for programs: the rows with their medians, and what came of the targets."""
    return {
        **asdict(result),
        "rows": [{**asdict(row), "median": row.median, "p95": row.p95} for row in result.rows],
        "verdicts": [asdict(verdict) for verdict in result.verdicts()],
    }


def load(path: Path) -> dict[str, Result]:
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
    )
