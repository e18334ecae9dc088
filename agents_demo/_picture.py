"""Draw figures of a demo as a picture, where matplotlib is installed."""

from pathlib import Path


def draw(figures: list[tuple[str, float, str]], path: Path) -> Path | None:
    """Draw one bar a figure, on a scale of powers of ten; return the path, or None without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(9, 0.6 * len(figures) + 1))
    names = [f"{what}\nclaimed: {claim}" for what, _, claim in figures]
    seconds = [1e3 * value for _, value, _ in figures]
    axis.barh(names, seconds, color="#0f766e")
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.set_xlabel("ms, measured now on this machine (log scale, less is better)", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
    for place, value in enumerate(seconds):
        axis.annotate(f" {value:,.3g} ms", (value, place), va="center", fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
    return path
