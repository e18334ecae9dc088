"""Sums of a records file, formed from its JSON alone: what a report has to say."""

import json
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from three_mode.observe import Breakdown, CallSums, Report

Sums = dict[str, Any]
DIMENSIONS = ("provider", "model", "label", "conversation", "side")


def record_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def sums_of(lines: list[dict[str, Any]]) -> dict[str, dict[str | None, Sums]]:
    """The sums by each dimension and name; `total` has one name, None."""
    found: dict[str, dict[str | None, Sums]] = defaultdict(lambda: defaultdict(lambda: defaultdict(Decimal)))
    for line in lines:
        for dimension, name in _names(line, line["provider"], line["model"]):
            _add_call(found[dimension][name], line)
        for use in line.get("used", ()):
            for dimension, name in _names(line, use["provider"], use["model"]):
                _add_use(found[dimension][name], use["usage"])
        for failure in line.get("failures", ()):
            for dimension, name in _names(line, failure["provider"], failure["model"]):
                found[dimension][name][f"attempt {failure['kind']}"] += 1
    return found


def said_by(sums: CallSums) -> Sums:
    """The same sums as a report says them."""
    usage = sums.usage
    said: Sums = {
        "requests": sums.requests,
        "answered": sums.answered,
        "cancelled": sums.cancelled,
        "failed": sums.failed,
        "retries": sums.retries,
        "switched": sums.switched,
        "hedged": sums.hedged,
        "cache_hit": sums.cache_hits,
        "coalesced": sums.coalesced,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cost": sums.cost or 0,
        "unpriced": sums.unpriced,
        "measured": sums.latency.count,
        "first content": sums.first_content.count,
        **sums.errors,
        **{f"attempt {kind}": count for kind, count in sums.attempt_errors.items()},
    }
    return {name: value for name, value in said.items() if value}


def assert_same(report: Report, lines: list[dict[str, Any]]) -> None:
    """Fails where any sum of a report is not that of the records."""
    found = sums_of(lines)
    assert said_by(report.total) == _nonzero(found["total"][None])
    for dimension in DIMENSIONS:
        breakdown: Breakdown = getattr(report, f"by_{dimension}")
        wanted = {name: _nonzero(sums) for name, sums in found[dimension].items()}
        assert said_by(breakdown.unnamed) == wanted.pop(None, {}), dimension
        assert {name: said_by(sums) for name, sums in breakdown.rows.items()} == wanted, dimension
        assert breakdown.merged == 0


def _names(line: dict[str, Any], provider: str, model: str) -> list[tuple[str, str | None]]:
    return [
        ("total", None),
        ("provider", provider),
        ("model", f"{provider}/{model}"),
        ("label", line.get("label")),
        ("conversation", line.get("conversation")),
        ("side", f"{line['route']}: {line['side']}" if "route" in line else None),
    ]


def _add_call(sums: Sums, line: dict[str, Any]) -> None:
    outcome = line.get("outcome", "answered")
    if outcome == "late":
        return
    sums["requests"] += 1
    sums[outcome] += 1
    for name in ("retries", "switched", "hedged"):
        sums[name] += line.get(name, 0)
    if "reused" in line:
        sums[line["reused"]] += 1
    elif outcome == "answered":
        sums["measured"] += 1
        sums["first content"] += line["first_content"] is not None
    if outcome == "failed":
        sums[line["error"]["kind"][0]] += 1


def _add_use(sums: Sums, usage: dict[str, Any]) -> None:
    for name in ("input_tokens", "output_tokens", "cache_read_tokens"):
        sums[name] += usage.get(name, 0)
    if usage.get("cost") is None:
        sums["unpriced"] += 1
    else:
        sums["cost"] += Decimal(usage["cost"])


def _nonzero(sums: Sums) -> Sums:
    return {name: value for name, value in sums.items() if value}


def outcomes_of(lines: list[dict[str, Any]]) -> Counter[str]:
    """How the calls of a file ended."""
    return Counter(line.get("outcome", "answered") for line in lines)
