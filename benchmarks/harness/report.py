"""Report: writes the figures of a run into the documents. A test renders them again, so none is typed by hand.

    python -m benchmarks all --json benchmarks/results/all.json
    python -m benchmarks report

The second writes the documents, and a picture of each benchmark beside the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.harness import store
from benchmarks.harness.model import Headline, Result, Target, Verdict
from benchmarks.harness.pace import Pace
from benchmarks.harness.picture import draw
from benchmarks.harness.registry import FOLDER
from benchmarks.harness.table import number

NAME = "report"
RESULTS = FOLDER / "results" / "all.json"
DETAILS, FRONT = FOLDER / "README.md", FOLDER.parent / "README.md"
BEGIN, END = "<!-- measured: written by `python -m benchmarks report` -->", "<!-- end of measured -->"


def render_details(results: Mapping[str, Result]) -> str:
    """Renders every target with its verdict, ratios first, then missing peers and the machine."""
    judged = [(result, verdict) for result in results.values() for verdict in result.verdicts()]
    parts = [_machine_sentence(results), ""]
    for title, relative in (("Ratios of medians", True), ("Figures of this machine", False)):
        parts += [f"**{title}**", "", "| benchmark | what | wanted | measured |", "|---|---|---|---|"]
        before = ""
        for result, verdict in judged:
            if _is_ratio(verdict.target) is relative:
                shown = f"[`{result.name}`](results/{result.name}.svg)" if result.name != before else ""
                parts.append(
                    f"| {shown} | {_what(verdict.target)} | {_wanted(result, verdict.target)} "
                    f"| {_measured(result, verdict)} |"
                )
                before = result.name
        parts.append("")
    missing = dict.fromkeys(
        f"{gap.subject} (`{result.name}`): {gap.how_to_get}" for result in results.values() for gap in result.missing
    )
    if missing:
        parts += ["Not there in this run:", "", *(f"- {gap}" for gap in missing), ""]
    best = min((pace["fastest"] for pace in map(_pace, results.values()) if pace), default=0.0)
    took = ", ".join(_took(result, best) for result in results.values())
    whole = sum(result.seconds for result in results.values()) / 60
    parts.append(
        "Seconds, the machine's load before, and its pace meanwhile, as a part of the best in this run: "
        f"{took}; {whole:.1f} minutes in all."
    )
    return "\n".join(parts)


def _took(result: Result, best: float) -> str:
    load, pace = result.machine.get("load"), _pace(result)
    remarks = [str(load)] if load is not None else []
    remarks += [f"{best / pace['median']:.0%}"] if pace else []
    return f"`{result.name}` {result.seconds:.0f}" + (f" ({', '.join(remarks)})" if remarks else "")


def _pace(result: Result) -> Pace | None:
    return result.machine.get("pace_us")


def render_front(results: Mapping[str, Result], headlines: Sequence[Headline]) -> str:
    """Renders the headlines for the first page."""
    lines = ["| | beside | measured | wanted |", "|---|---|---|---|"]
    lines += _headlines(results, headlines)
    met = [verdict.met for result in results.values() for verdict in result.verdicts()]
    counted = (
        f"{met.count(True)} of {len(met)} targets were met, {met.count(False)} missed, {met.count(None)} not measured"
    )
    where = "[all of them, and how they were measured](benchmarks/README.md)"
    lines += ["", f"{_machine_sentence(results)} {counted}: {where}."]
    return "\n".join(lines)


def _headlines(results: Mapping[str, Result], headlines: Sequence[Headline]) -> Iterator[str]:
    for one in headlines:
        result = results.get(one.benchmark)
        key = (one.case, one.subject, one.peer)
        found = (
            [v for v in result.verdicts() if (v.target.case, v.target.subject, v.target.peer) == key] if result else []
        )
        if result is not None and found:
            yield f"| {one.what} | {one.beside} | {_measured(result, found[0])} | {_wanted(result, found[0].target)} |"


def _machine_sentence(results: Mapping[str, Result]) -> str:
    machine = next(iter(results.values())).machine
    return (
        f"Measured on {machine['date']} on {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, Python {machine['python']}."
    )


def _is_ratio(target: Target) -> bool:
    return target.peer is not None or target.peer_case is not None


def _what(target: Target) -> str:
    peer = " / ".join(word for word in (target.peer, target.peer_case) if word)
    return f"{target.case}: {target.subject}" + (f", to {peer}" if peer else "")


def _unit(result: Result, target: Target) -> str:
    if _is_ratio(target):
        return "x"
    row = result.row(target.case, target.subject)
    return row.unit if row else ""


def _wanted(result: Result, target: Target) -> str:
    unit = _unit(result, target)
    bounds = (("at most", target.at_most), ("at least", target.at_least))
    return " and ".join(f"{word} {number(bound)} {unit}".strip() for word, bound in bounds if bound is not None)


def _measured(result: Result, verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    shown = f"{number(verdict.value)} {_unit(result, verdict.target)}".strip()
    return f"**{shown}**" if verdict.met else f"{shown}, missed"


def replaced(text: str, block: str) -> str:
    """Returns the document with the text between its markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{block}\n{END}{after}"


def documents(results: Mapping[str, Result]) -> dict[Path, str]:
    """Returns the text that each document should have."""
    from benchmarks.harness.headlines import HEADLINES

    blocks = {DETAILS: render_details(results), FRONT: render_front(results, HEADLINES)}
    return {path: replaced(path.read_text(), block) for path, block in blocks.items()}


def main(files: Sequence[Path], console: Console) -> int:
    """Writes the documents and pictures. Several files are one run in parts; a later file overrides an earlier one."""
    results: dict[str, Result] = {}
    for file in files or [RESULTS]:
        if not file.is_file():
            console.print(f"no such file: {file}; `python -m benchmarks all --json {RESULTS}` makes one")
            return 2
        results |= store.load(file)
    results = dict(sorted(results.items()))
    store.save(list(results.values()), RESULTS)
    for result in results.values():
        if result.rows:
            draw(result, RESULTS.parent / f"{result.name}.svg")
    for path, text in documents(results).items():
        path.write_text(text)
        console.print(f"written: {path}")
    return 0
