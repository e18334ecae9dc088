"""Lazy package fronts: a public name imports its module on first use."""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules


def lazy_names(package: str, defined_in: Mapping[str, str]) -> Callable[[str], object]:
    """The module `__getattr__` of a package; `defined_in` maps each public name to the module that defines it.

    No such name may be that of a submodule too: importing the submodule would put the module in its place.
    """

    def load(name: str) -> object:
        module = defined_in.get(name)
        if module is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module), name)
        setattr(modules[package], name, value)  # the next access does not come here
        return value

    return load
