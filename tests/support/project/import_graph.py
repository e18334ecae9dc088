"""Imports of a tree of packages, and their circles.

Counted: every import statement, at the top of a module, inside a function, or under TYPE_CHECKING. Not counted: names
of modules in strings, such as the tables of packages that import their public names on first use.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

Graph = dict[str, frozenset[str]]


def modules_of(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """Map the dotted name of each module under these packages to its file; a package goes by its own name."""
    found = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def import_graph(root: Path, packages: tuple[str, ...]) -> Graph:
    """Map each module to the modules of the same tree that it imports."""
    modules = modules_of(root, packages)
    return {name: frozenset(_imported(path, name, modules)) for name, path in modules.items()}


def circles(graph: Graph) -> list[tuple[str, ...]]:
    """List the groups of modules that import each other, or themselves; each group in alphabetical order."""
    groups = [tuple(sorted(group)) for group in _components(graph)]
    return sorted(group for group in groups if len(group) > 1 or group[0] in graph[group[0]])


def arrows_within(graph: Graph, circle: tuple[str, ...]) -> list[str]:
    """Write each import between the members of a circle as "importer -> imported"."""
    return [f"{module} -> {other}" for module in circle for other in sorted(graph[module].intersection(circle))]


def _imported(path: Path, name: str, modules: Mapping[str, Path]) -> Iterator[str]:
    for node in _statements(path.read_bytes()):
        if isinstance(node, ast.Import):
            # `import package.module` needs the module; the package counts only where names are taken from it.
            yield from (alias.name for alias in node.names if alias.name in modules)
        else:
            source = _source(node, path, name)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                if submodule in modules:
                    yield submodule
                elif source in modules:
                    yield source


@cache
def _statements(source: bytes) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Parse once the files that a copy of the tree has in common with the tree."""
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom))


def _source(node: ast.ImportFrom, path: Path, name: str) -> str:
    """Return the absolute name of the module after `from`, also for `from . import`."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    above = node.level - 1 if path.name == "__init__.py" else node.level
    return ".".join(parts[: len(parts) - above] + ([node.module] if node.module else []))


def _components(graph: Graph) -> list[list[str]]:
    """Find strongly connected components with Tarjan's algorithm, without recursion."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    pending: list[str] = []  # visited, and not yet in a component
    components: list[list[str]] = []
    done: set[str] = set()
    for start in graph:
        path = [] if start in index else [(start, iter(sorted(graph[start])))]
        while path:
            module, others = path[-1]
            if module not in index:
                index[module] = lowest[module] = len(index)
                pending.append(module)
            for other in others:
                if other not in index:
                    path.append((other, iter(sorted(graph[other]))))
                    break
                if other not in done:
                    lowest[module] = min(lowest[module], index[other])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[module])
                if lowest[module] == index[module]:
                    first = pending.index(module)
                    components.append(pending[first:])
                    done.update(pending[first:])
                    del pending[first:]
    return components
