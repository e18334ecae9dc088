"""Modules that this process has loaded anew: hosts that have the old code load them anew too.

`importlib.reload`, or an import after `del sys.modules[...]`, gives a module a new `__spec__`; that is how it is seen.
"""

import sys
from types import FunctionType, ModuleType


class Reloads:
    """Log of modules that were loaded anew since this object was made, in an order that hosts can follow."""

    def __init__(self) -> None:
        self._specs: dict[str, object] = {}
        self._log: list[str] = []
        self.look()

    def look(self) -> int:
        """Look at all modules, and return the length of the log."""
        new = []
        for name, module in list(sys.modules.items()):
            spec = getattr(module, "__dict__", {}).get("__spec__")
            if spec is None:
                continue
            if self._specs.setdefault(name, spec) is not spec:
                self._specs[name] = spec
                new.append(name)
        self._log += used_first(new)
        return len(self._log)

    def since(self, length: int) -> tuple[str, ...]:
        """Return the modules of the log from a length of it on, each at its last place."""
        return tuple(reversed(dict.fromkeys(reversed(self._log[length:]))))


def used_first(names: list[str]) -> list[str]:
    """Return modules in an order in which each comes after those of them that it uses."""
    ordered: dict[str, None] = {}
    visited: set[str] = set()

    def visit(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        for other in _used_by(name) & set(names):
            visit(other)
        ordered[name] = None

    for name in names:
        visit(name)
    return list(ordered)


def _used_by(name: str) -> set[str]:
    found = set()
    for value in list(vars(sys.modules[name]).values()):
        if isinstance(value, ModuleType):
            found.add(value.__name__)
        elif isinstance(value, type | FunctionType):
            found.add(value.__module__)
    return found
