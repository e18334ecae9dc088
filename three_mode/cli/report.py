"""Subcommand `three-mode report FILE`: sums up records files, as `llm.report()` does the calls of a connection."""

import argparse
from collections.abc import Iterator

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from three_mode.cli.console import open_console
from three_mode.errors import ThreeModeError
from three_mode.observe import Breakdown, CallSums, Report, report_of_records
from three_mode.observe.call_sums import DIMENSIONS

_COLUMNS = (
    "requests",
    "errors",
    "retries",
    "reused",
    "tokens in",
    "from cache",
    "out",
    "cost $",
    "p50 s",
    "p90",
    "p99",
    "first p50 s",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a records file of Observing(records=...)")
    parser.add_argument(
        "--by", action="append", choices=DIMENSIONS, help="break down by this alone; may be given several times"
    )
    parser.add_argument("--most", type=int, default=20, metavar="N", help="most rows of each table (20; 0: all)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    wanted = tuple(options.by or DIMENSIONS)
    try:
        report = report_of_records(options.files, wanted)
    except ThreeModeError as error:
        open_console(stderr=True).print(f"[red]three-mode report:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=1).decode())
    else:
        _show(open_console(), report, wanted, options.most)
    return 0


def _show(console: Console, report: Report, wanted: tuple[str, ...], most: int) -> None:
    total = Table(box=None, header_style="dim", pad_edge=False)
    _add_columns(total, "")
    total.add_row("all calls", *_cells(report.total))
    console.print(total)
    for name in wanted:
        breakdown: Breakdown = getattr(report, f"by_{name}")
        if not breakdown.rows:
            continue
        table = Table(box=None, header_style="dim", pad_edge=False)
        _add_columns(table, f"by {name}")
        for label, sums in _rows(breakdown, most):
            table.add_row(label, *_cells(sums))
        console.print()
        console.print(table)
    for line in _remarks(report):
        console.print(line, soft_wrap=True, highlight=False)


def _add_columns(table: Table, first: str) -> None:
    table.add_column(first, overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)


def _rows(breakdown: Breakdown, most: int) -> Iterator[tuple[str, CallSums]]:
    names = list(breakdown.rows)
    shown = names[:most] if most > 0 else names
    for name in shown:
        yield escape(name), breakdown.rows[name]
    if len(shown) < len(names):
        yield f"[dim]... {len(names) - len(shown)} more: --most 0[/dim]", CallSums()
    if breakdown.merged:
        yield "[dim](others)[/dim]", breakdown.other
    if breakdown.unnamed != CallSums():
        yield "[dim](none)[/dim]", breakdown.unnamed


def _cells(sums: CallSums) -> list[str]:
    if sums == CallSums():
        return []
    usage, latency = sums.usage, sums.latency
    return [
        str(sums.requests),
        str(sums.failed or ""),
        str(sums.retries or ""),
        str((sums.cache_hits + sums.coalesced) or ""),
        str(usage.input_tokens),
        str(usage.cache_read_tokens or ""),
        str(usage.output_tokens),
        "unknown" if sums.cost is None else f"{sums.cost:.4f}{'+?' * bool(sums.unpriced)}",
        *map(_seconds, (latency.p50, latency.p90, latency.p99, sums.first_content.p50)),
    ]


def _counts(kinds: dict[str, int]) -> str:
    ordered = sorted(kinds.items(), key=lambda each: -each[1])
    return escape(", ".join(f"{count} {kind}" for kind, count in ordered if count))


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _remarks(report: Report) -> Iterator[str]:
    total = report.total
    if total.requests > total.answered:
        yield f"\nnot answered: {_counts(total.errors | {'cancelled': total.cancelled})}"
    if total.attempt_errors:
        yield f"failed attempts: {_counts(total.attempt_errors)}; {total.switched} times the next target was tried"
    if total.unpriced:
        yield f"+?: the price of {total.unpriced} attempts is not known; their tokens are counted, their cost is not"
    if report.unreadable:
        yield f"[yellow]{report.unreadable} lines could not be read[/yellow]: they are no records, or were cut"
