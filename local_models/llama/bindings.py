"""Bindings: llama-cpp-python's ctypes declarations, without the rest of that package until somebody asks for it.

`import llama_cpp` imports `Llama` too, with chat formats, a disk cache and a database, which takes three times as long
as the declarations alone. Here the package is put into `sys.modules` with its own `__init__` still to come: who imports
`Llama` from it, elsewhere in the program, runs that and gets all of the package, as always.
"""

import sys
import threading
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

PACKAGE = "llama_cpp"
_OF_PACKAGE = ("__all__", "__version__")  # other such names are asked of all modules, by tools that look at them
_once = threading.RLock()


class _Front(ModuleType):
    """A package whose `__init__` runs when an attribute is missing."""

    _asked = False

    def __getattr__(self, name: str) -> Any:
        half_imported = f"{PACKAGE}.{name}" in sys.modules  # a part that imports another, which imports the first
        if half_imported or (name.startswith("__") and name not in _OF_PACKAGE):
            raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
        with _once:  # other threads wait here until all of it is there
            if not self._asked:
                self._asked = True
                assert self.__spec__ is not None
                assert self.__spec__.loader is not None
                try:
                    self.__spec__.loader.exec_module(self)
                except BaseException:
                    self._asked = False  # who asks next is told why, too
                    raise
                self.__class__ = ModuleType  # type: ignore[assignment]
        return ModuleType.__getattribute__(self, name)


def bindings() -> Any:
    """Returns the module `llama_cpp.llama_cpp`; raises ImportError."""
    if PACKAGE not in sys.modules and (spec := find_spec(PACKAGE)) is not None and spec.loader is not None:
        front = module_from_spec(spec)
        front.__class__ = _Front
        sys.modules.setdefault(PACKAGE, front)
    try:
        declared = import_module(f"{PACKAGE}.llama_cpp")
    except BaseException:
        if type(sys.modules.get(PACKAGE)) is _Front:
            del sys.modules[PACKAGE]
        raise
    if type(package := sys.modules[PACKAGE]) is _Front:  # other parts look for the declarations there
        vars(package).update({name: value for name, value in vars(declared).items() if not name.startswith("_")})
    return declared
