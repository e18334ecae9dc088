"""Picture of a result: a panel for each case, a bar for each subject with median and spread; growth is a curve."""

from pathlib import Path
from typing import Any

from benchmarks.harness.model import Result, Row

_CURVES = 4.0  # inches
OURS, PEER = "#0f766e", "#94a3b8"


def draw(result: Result, path: Path) -> None:
    """Writes SVG or PNG, by the name of the file. Needs matplotlib, which development installs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cases: dict[str, list[Row]] = {}
    curves: dict[str, list[Row]] = {}
    for row in result.rows:
        (curves if row.curve else cases).setdefault(row.curve or row.case, []).append(row)
    heights = [0.8 + 0.38 * len(rows) for rows in cases.values()] + [_CURVES] * bool(curves)
    figure, axes = pyplot.subplots(len(heights), 1, figsize=(8, sum(heights)), squeeze=False, height_ratios=heights)
    if curves:
        _draw_curves(axes[-1, 0], curves)
    for axis, (case, rows) in zip(axes[:, 0], cases.items(), strict=False):
        medians = [row.median for row in rows]
        # The whiskers are p5 and p95: nine of ten samples lie between them.
        low = [row.median - sorted(row.samples)[len(row.samples) // 20] for row in rows]
        high = [max(0.0, row.p95 - row.median) for row in rows]
        colors = [OURS if row.subject.startswith("three-mode") else PEER for row in rows]
        axis.barh(
            [row.subject for row in rows],
            medians,
            xerr=[low, high],
            color=colors,
            ecolor="#475569",
            capsize=2,
        )
        axis.invert_yaxis()
        better = "more is better" if rows[0].higher_is_better else "less is better"
        axis.set_title(f"{case} ({rows[0].unit}, {better})", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        for place, value in enumerate(medians):
            axis.annotate(f" {value:,.3g}", (value, place), va="bottom", fontsize=7)
    machine = result.machine
    figure.suptitle(f"{result.name}: {result.summary}", fontsize=10, x=0.01, ha="left")
    figure.text(
        0.01,
        0.003,
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}",
        fontsize=7,
        color="#64748b",
    )
    figure.tight_layout(rect=(0, 0.02, 1, 0.98))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=144)
    pyplot.close(figure)


def _draw_curves(axis: Any, curves: dict[str, list[Row]]) -> None:
    """Draws curves on logarithmic scales, where proportional growth has the slope of the dotted line."""
    for name, rows in curves.items():
        at, medians = [row.at for row in rows], [row.median for row in rows]
        axis.plot(at, medians, marker="o", markersize=4, label=f"{name} ({rows[0].unit})")
        axis.plot([at[0], at[-1]], [medians[0], medians[0] * at[-1] / at[0]], ":", color="#94a3b8", linewidth=0.8)
        for place, value in zip(at, medians, strict=True):
            axis.annotate(f"{value:,.3g}", (place, value), xytext=(3, 4), textcoords="offset points", fontsize=7)
    axis.set(xscale="log", yscale="log")
    axis.set_title("growth (dotted: in proportion)", fontsize=9, loc="left")
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7)
    axis.spines[["top", "right"]].set_visible(False)
