"""Tables of results for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table

from benchmarks.harness.model import FLOOR, Result, Row, Verdict


def number(value: float) -> str:
    """Returns a number with three significant digits, without an exponent."""
    if value == 0:
        return "0"
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"


def render(result: Result, before: Result | None = None) -> RenderableType:
    """Renders a result, beside an earlier one if given."""
    parts: list[RenderableType] = [f"[bold]{result.name}[/bold]  {result.summary}", _rows(result, before)]
    if result.targets:
        parts.append(_targets(result))
    parts.extend(f"  not here: {gap.subject} in '{gap.case}': {gap.how_to_get}" for gap in result.missing)
    if result.notes:
        parts.append(f"[dim]{result.notes}[/dim]")
    return Group(*parts)


def _rows(result: Result, before: Result | None) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("case", "subject"):
        table.add_column(name)
    floors = {row.case: row for row in result.rows if row.subject == FLOOR}
    shown = ["median", "p95", "unit", "n", "x first", *(["x floor"] if floors else [])]
    for name in (*shown, *(["before", "x before"] if before else [])):
        table.add_column(name, justify="right" if name != "unit" else "left")
    first: dict[str, Row] = {}
    for row in result.rows:
        base = first.setdefault(row.case, row)
        cells = [
            row.case,
            row.subject,
            number(row.median),
            number(row.p95),
            row.unit,
            str(len(row.samples)),
            _times(row, base),
        ]
        cells += [_times(row, floors.get(row.case))] if floors else []
        table.add_row(*cells, *_compared(row, before))
    return table


def _times(row: Row, base: Row | None) -> str:
    return f"{row.median / base.median:.2f}" if base and base.median else "-"


def _compared(row: Row, before: Result | None) -> Iterator[str]:
    if before is None:
        return
    old = before.row(row.case, row.subject)
    yield number(old.median) if old else "-"
    yield _times(row, old)


def _targets(result: Result) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("target", "wanted", "measured", ""):
        table.add_column(name)
    for verdict in result.verdicts():
        table.add_row(*_target(verdict))
    return table


def _target(verdict: Verdict) -> tuple[str, str, str, str]:
    target = verdict.target
    peer = " / ".join(word for word in (target.peer, target.peer_case) if word)
    name = f"{target.case}: {target.subject}" + (f" to {peer}" if peer else "")
    wanted = " ".join(
        f"{word} {number(bound)}{'x' if peer else ''}"
        for word, bound in (("at most", target.at_most), ("at least", target.at_least))
        if bound is not None
    )
    if verdict.value is None or verdict.met is None:
        return name, wanted, "-", "not measured"
    return name, wanted, number(verdict.value), "[green]met[/green]" if verdict.met else "[red]missed[/red]"


def overview(console: Console, results: Sequence[Result]) -> None:
    """Prints the duration and the verdicts of all benchmarks of a long run."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("benchmark", style="bold")
    for name in ("seconds", "met", "missed", "not measured"):
        table.add_column(name, justify="right")
    for result in results:
        met = [verdict.met for verdict in result.verdicts()]
        counts = [str(met.count(kind) or "") for kind in (True, False, None)]
        table.add_row(result.name, f"{result.seconds:.0f}", *counts)
    table.add_row("all", f"{sum(result.seconds for result in results):.0f}")
    console.print(table)
    for result in results:
        for gap in result.missing:
            console.print(f"not here: {gap.subject} ({result.name}): {gap.how_to_get}", highlight=False)


def show(console: Console, result: Result, before: Result | None = None) -> None:
    """Prints a result, beside an earlier one if given."""
    console.print(render(result, before))
    console.print()
