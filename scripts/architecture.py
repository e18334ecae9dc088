"""Draws the architecture from the code's own imports, for docs/architecture.md.

    python scripts/architecture.py            writes the pictures in docs/architecture/
    python scripts/architecture.py --check    fails where a picture is older than the code

A box is a room: a module, or a package with everything below it. A room stands above the rooms that it imports. An
arrow is left out where a longer way leads to the same room, so that each arrow that is drawn carries weight.
"""

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "architecture"
HEIGHT, GAP_X, GAP_Y, MARGIN, LETTER = 46, 18, 44, 20, 7.3
BACK, LINE, TEXT, SMALL = "#fffdf8", "#8aa0b8", "#1d2a38", "#5b6b7c"
FILL = {"transports": "#dcebf7", "local_models": "#e3f2dd", "three_mode": "#fdeccb"}


@dataclass(frozen=True)
class Picture:
    """One sheet: the packages whose direct children are its rooms, and rooms that are shown as one."""

    title: str
    inside: tuple[str, ...]
    whole: tuple[str, ...] = ()


SHEETS = {
    "house": Picture(
        "three-mode: a room imports only what stands below it",
        ("three_mode",),
        ("transports.bus", "transports.http2", "transports.process", "local_models", "agents_demo", "benchmarks"),
    ),
    "agents": Picture("three_mode.agents", ("three_mode.agents",)),
    "calls": Picture("three_mode.calls and the channels below", ("three_mode.calls", "three_mode.channels")),
    "bus": Picture("transports.bus", ("transports.bus",)),
    "http2": Picture("transports.http2", ("transports.http2",)),
    "local_models": Picture("local_models", ("local_models",)),
}


@dataclass
class Room:
    """A module, or a package as a whole."""

    name: str
    files: int = 0


def modules() -> dict[str, Path]:
    """Every module of the tree by its dotted name."""
    found = {}
    for top in ("three_mode", "transports", "local_models", "agents_demo", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the tree that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    found.add(inner)
                elif node.module in known:
                    found.add(node.module)
    return found


def room_of(module: str, picture: Picture) -> str | None:
    """The room of a sheet that a module belongs to. A package's own front belongs to none: it only hands names on."""
    for whole in picture.whole:
        if module == whole or module.startswith(whole + "."):
            return whole
    for package in picture.inside:
        if module.startswith(package + "."):
            child = module.removeprefix(package + ".").partition(".")[0]
            return None if child == "__main__" else f"{package}.{child}"
    return None


def plan(picture: Picture) -> tuple[dict[str, Room], dict[str, set[str]]]:
    """The rooms of a sheet, and for each the rooms that it imports."""
    known = modules()
    rooms: dict[str, Room] = {}
    arrows: dict[str, set[str]] = {}
    for module, path in known.items():
        name = room_of(module, picture)
        if name is None:
            continue
        room = rooms.setdefault(name, Room(name))
        room.files += 1
        targets = {room_of(target, picture) for target in imports(path, known)}
        arrows.setdefault(name, set()).update(target for target in targets if target not in (None, name))
    return rooms, {name: {target for target in targets if target in rooms} for name, targets in arrows.items()}


def floors(arrows: dict[str, set[str]], ground: Iterable[str]) -> dict[str, int]:
    """Room -> its floor: above all that it imports, and as near as that allows to who imports it.

    The rooms of `ground` stay down. A circle of imports is an error.
    """
    found: dict[str, int] = {}

    def floor(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise SystemExit(f"a circle of imports: {' -> '.join([*above[above.index(name) :], name])}")
        if name not in found:
            found[name] = 1 + max((floor(target, (*above, name)) for target in arrows[name]), default=-1)
        return found[name]

    for name in arrows:
        floor(name, ())
    for name in sorted(found, key=lambda one: -found[one]):
        above = [found[other] for other in arrows if name in arrows[other]]
        if above and name not in ground:
            found[name] = min(above) - 1
    return found


def reduced(arrows: dict[str, set[str]]) -> Iterable[tuple[str, str]]:
    """The arrows without those that a longer way replaces."""
    reach: dict[str, set[str]] = {}

    def reachable(name: str) -> set[str]:
        if name not in reach:
            reach[name] = set(arrows[name]).union(*(reachable(target) for target in arrows[name]))
        return reach[name]

    for name, targets in sorted(arrows.items()):
        for target in sorted(targets):
            if not any(target in reachable(other) for other in targets if other != target):
                yield name, target


def shown(name: str, picture: Picture) -> str:
    """The name in a box: without the package that the sheet is about."""
    if len(picture.inside) > 1:
        return name.removeprefix("three_mode.")
    return name.removeprefix(picture.inside[0] + ".")


def draw(picture: Picture) -> str:
    """One sheet as SVG."""
    rooms, arrows = plan(picture)
    floor = floors(arrows, [name for name in picture.whole if not name.startswith("agents_demo")])
    rows: list[list[str]] = [[] for _ in range(max(floor.values()) + 1)]
    for name in sorted(rooms):
        rows[floor[name]].append(name)
    width = {name: max(90.0, len(shown(name, picture)) * LETTER + 26) for name in rooms}
    row_width = [sum(width[name] + GAP_X for name in row) - GAP_X for row in rows]
    whole_width = max(row_width) + 2 * MARGIN
    height = len(rows) * (HEIGHT + GAP_Y) + 2 * MARGIN + 24
    x: dict[str, float] = {}
    y: dict[str, float] = {}
    for number, row in enumerate(rows):
        # From the ground up, each room stands near the middle of what it imports.
        row.sort(key=lambda name: sum(x[t] for t in arrows[name]) / max(1, len(arrows[name])) if arrows[name] else 0.0)
        left = (whole_width - row_width[number]) / 2
        for name in row:
            x[name], y[name] = left + width[name] / 2, height - MARGIN - HEIGHT - number * (HEIGHT + GAP_Y)
            left += width[name] + GAP_X
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole_width:.0f} {height:.0f}" '
            f'font-family="Helvetica, Arial, sans-serif" font-size="13">'
        ),
        f'<rect width="100%" height="100%" fill="{BACK}"/>',
        (
            '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>'
        ),
        f'<text x="{MARGIN}" y="{MARGIN + 6}" font-size="15" fill="{TEXT}">{escape(picture.title)}</text>',
    ]
    for name, target in reduced(arrows):
        top, bottom = y[name] + HEIGHT, y[target]
        bend = (top + bottom) / 2
        parts.append(
            f'<path d="M{x[name]:.0f} {top:.0f}C{x[name]:.0f} {bend:.0f} {x[target]:.0f} {bend:.0f} {x[target]:.0f} '
            f'{bottom - 2:.0f}" fill="none" stroke="{LINE}" stroke-width="1.2" marker-end="url(#to)"/>'
        )
    for name, room in sorted(rooms.items()):
        fill = FILL.get(name.partition(".")[0], "#eeeae2")
        files = f"{room.files} files" if room.files > 1 else ""
        parts.append(
            f'<rect x="{x[name] - width[name] / 2:.0f}" y="{y[name]:.0f}" width="{width[name]:.0f}" height="{HEIGHT}" '
            f'rx="6" fill="{fill}" stroke="{LINE}"/>'
            f'<text x="{x[name]:.0f}" y="{y[name] + (20 if files else 28):.0f}" text-anchor="middle" fill="{TEXT}">'
            f"{escape(shown(name, picture))}</text>"
            f'<text x="{x[name]:.0f}" y="{y[name] + 36:.0f}" text-anchor="middle" font-size="10" fill="{SMALL}">'
            f"{files}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> int:
    """Writes the pictures, or says which of them are old."""
    PICTURES.mkdir(exist_ok=True)
    old = []
    for name, picture in SHEETS.items():
        path, drawn = PICTURES / f"{name}.svg", draw(picture)
        if path.exists() and path.read_text() == drawn:
            continue
        old.append(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.write_text(drawn)
            print(f"drew {path.relative_to(ROOT)}")
    if old and "--check" in sys.argv:
        print(f"older than the code: {', '.join(map(str, old))}; run `python scripts/architecture.py`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
