"""Send classes by name: `path_of` makes a `ClassPath` of a class, and `load` a class of it in another process.

For a class from `__main__`, the other process imports that script under another name, so that code behind its main
guard does not run. For agents of this process `path_here` makes the path, and any class will do.
"""

import importlib
import importlib.util
import itertools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import msgspec

from three_mode.errors import ConfigurationError

MAIN = "__three_mode_main__"
_HERE = "__three_mode_here__"  # module of classes that only this process has, and no name leads to
_importing_main = False


class ClassPath(msgspec.Struct, frozen=True):
    """Place of a class: a module that can be imported, or else a file."""

    module: str
    name: str
    file: str = ""

    def __str__(self) -> str:
        return f"{'__main__' if self.module == MAIN else self.module}.{self.name}"


# Classes that recordings name by the place where they were before.
_MOVED = {ClassPath("three_mode.agents.model", "Model"): ClassPath("three_mode.hosted_model", "HostedModel")}


def path_of(kind: type) -> ClassPath:
    """Return the path of a class, or raise an error that says why another process could not find it."""
    name, module = kind.__qualname__, kind.__module__
    if "<locals>" in name:
        raise ConfigurationError(
            f"{name.replace('.<locals>', '')} is defined inside a function, where another process cannot find it",
            hint="move the class to the top level of its module, or use Orchestrator(hosts=0)",
        )
    loaded = sys.modules.get(module)
    file = getattr(loaded, "__file__", None) or ""
    if module != "__main__":
        _check(loaded, name, kind)
        return ClassPath(module, name, str(Path(file).resolve()) if file.endswith(".py") else "")
    spec = getattr(loaded, "__spec__", None)
    if spec is not None:  # python -m package.module
        module = spec.name.removesuffix(".__main__") + ".__main__" if file.endswith("__main__.py") else spec.name
        return ClassPath(module, name, str(Path(file).resolve()))
    if not file or not Path(file).is_file():
        raise ConfigurationError(
            f"{name} is defined at a prompt or in a notebook, where another process cannot find it",
            hint="put the class into a file and import it, or use Orchestrator(hosts=0)",
        )
    return ClassPath(MAIN, name, str(Path(file).resolve()))


_paths_here: WeakKeyDictionary[type, ClassPath] = WeakKeyDictionary()
_classes_here: WeakValueDictionary[ClassPath, type] = WeakValueDictionary()
_count_here = itertools.count(1)


def path_here(kind: type) -> ClassPath:
    """Return the path of a class for agents of this process: of its module and name, or of the class itself.

    The class that has the name when an agent is restarted is the one that is made: the latest of a notebook's cell.
    """
    name, module = kind.__qualname__, kind.__module__
    if _found(sys.modules.get(module), name) is kind:
        file = getattr(sys.modules[module], "__file__", None) or ""
        return ClassPath(module, name, str(Path(file).resolve()) if file.endswith(".py") else "")
    path = _paths_here.get(kind)
    if path is None:
        path = _paths_here[kind] = ClassPath(_HERE, f"{name} ({next(_count_here)})")
        _classes_here[path] = kind
    return path


def latest(path: ClassPath) -> type | None:
    """Return the class that a path leads to now, where its module is loaded in this process."""
    found = _found(sys.modules.get(path.module), path.name)
    return found if isinstance(found, type) else None


def _found(module: ModuleType | None, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _check(loaded: ModuleType | None, name: str, kind: type) -> None:
    found = _found(loaded, name)
    if isinstance(found, type) and found.__qualname__ == name and found is not kind:
        raise ConfigurationError(
            f"{kind.__module__} was loaded anew, and this {name} is the old one",
            hint=f"from {kind.__module__} import {name.partition('.')[0]}",
        )
    if found is not kind:
        raise ConfigurationError(
            f"{kind.__module__}.{name} is not the class that was given",
            hint="give the class its name at the module's top level",
        )


def load(path: ClassPath) -> type:
    """Import the class of a path."""
    path = _MOVED.get(ClassPath(path.module, path.name), path)
    if path.module == _HERE:
        return _load_here(path)
    found: Any = _module(path)
    for part in path.name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ConfigurationError(
                f"{path.module if path.module != MAIN else path.file} has no {path.name}",
                hint="it may be made behind the main guard: move the class above it",
            )
    if not isinstance(found, type):
        raise ConfigurationError(f"{path} is no class")
    return found


def reload(name: str) -> None:
    """Load a module anew, if it is loaded here; classes that agents have keep their old code."""
    module = sys.modules.get(name)
    if module is None:
        return
    importlib.invalidate_caches()
    spec = getattr(module, "__spec__", None)
    try:
        importlib.reload(module)
    except ModuleNotFoundError as error:
        if error.name != name or spec is None or spec.loader is None:
            raise
        spec.loader.exec_module(module)  # it came from a file that is on no path


def _load_here(path: ClassPath) -> type:
    kind = _classes_here.get(path)
    if kind is None:
        raise ConfigurationError(
            f"{path.name} was defined inside a function, in a process that is not this one",
            hint="move the class to the top level of its module",
        )
    return kind


def _module(path: ClassPath) -> ModuleType:
    if path.module == "__main__" and path.file and path.file != _file_of(sys.modules["__main__"]):
        path = ClassPath(MAIN, path.name, path.file)  # recorded by a script with its agents in it; this is another one
    if path.module in sys.modules:
        return sys.modules[path.module]
    if path.module == MAIN or path.module.endswith(".__main__"):
        return _import_main(path)
    try:
        return importlib.import_module(path.module)
    except ModuleNotFoundError as error:
        if not path.file or error.name is None or not path.module.startswith(error.name):
            raise ConfigurationError(f"importing {path.module} in a host failed: {error}") from error
        return _from_file(path.module, path.file)


def _file_of(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    return str(Path(file).resolve()) if file else ""


def _import_main(path: ClassPath) -> ModuleType:
    """Import the orchestrator's script under another name, so that code behind its main guard does not run."""
    global _importing_main
    _importing_main = True
    try:
        if path.module != MAIN:
            return importlib.import_module(path.module)
        return _from_file(MAIN, path.file)
    except RuntimeError as error:
        if "running event loop" not in str(error):
            raise
        raise no_guard(path.file) from error
    finally:
        _importing_main = False


def _from_file(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def refuse_while_importing_main() -> None:
    """Raise if a host is importing the script that started it: work there would start again in every host."""
    if _importing_main:
        raise no_guard("the script")


def no_guard(file: str) -> ConfigurationError:
    """Return the error for a script without a main guard."""
    return ConfigurationError(
        f"{file} starts its work when it is imported; hosts import it to find its classes",
        hint='put the work under `if __name__ == "__main__":`',
    )
