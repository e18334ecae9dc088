"""Classes travel by name; those that cannot get an error that says what to do."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from three_mode.agents import Agent, Orchestrator
from three_mode.agents.wire.importing import MAIN, ClassPath, load, path_of
from three_mode.errors import ConfigurationError


class Here(Agent):
    class Inner(Agent): ...


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A stand-in for the module of a script."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.delitem(sys.modules, MAIN, raising=False)
    yield module
    sys.modules.pop(MAIN, None)


def test_a_class_of_a_module_is_found_again() -> None:
    assert load(path_of(Here)) is Here
    assert load(path_of(Here.Inner)) is Here.Inner


def test_a_class_inside_a_function_is_refused() -> None:
    class Local(Agent): ...

    with pytest.raises(ConfigurationError, match=r"inside a function.*top level"):
        path_of(Local)


def test_a_class_at_a_prompt_is_refused(main: ModuleType) -> None:
    kind = type("Typed", (Agent,), {"__module__": "__main__"})
    with pytest.raises(ConfigurationError, match=r"prompt or in a notebook.*put the class into a file"):
        path_of(kind)
    main.__file__ = "<stdin>"
    with pytest.raises(ConfigurationError, match="prompt"):
        path_of(kind)


def script(main: ModuleType, folder: Path, text: str) -> ClassPath:
    file = folder / "script.py"
    file.write_text(text)
    main.__file__ = str(file)
    main.__spec__ = None
    return path_of(type("Scripted", (Agent,), {"__module__": "__main__"}))


def test_a_class_of_a_script_is_found_by_importing_the_script_under_another_name(
    main: ModuleType, tmp_path: Path
) -> None:
    path = script(
        main,
        tmp_path,
        "from three_mode import Agent\nclass Scripted(Agent): ...\nif __name__ == '__main__': raise SystemExit(1)\n",
    )
    found = load(path)
    assert (found.__name__, found.__module__) == ("Scripted", MAIN)


@pytest.mark.parametrize(
    "work",
    [
        "import asyncio\nasyncio.run(asyncio.sleep(0))",
        "from three_mode import Orchestrator\nOrchestrator()",
    ],
)
async def test_a_script_without_a_main_guard_is_told_so(main: ModuleType, tmp_path: Path, work: str) -> None:
    path = script(main, tmp_path, f"from three_mode import Agent\nclass Scripted(Agent): ...\n{work}\n")
    with pytest.warns() if "asyncio.run" in work else pytest.MonkeyPatch.context():
        with pytest.raises(ConfigurationError, match='if __name__ == "__main__"'):
            load(path)
    assert MAIN not in sys.modules


def test_what_is_not_there_is_named(main: ModuleType, tmp_path: Path) -> None:
    path = script(main, tmp_path, "x = 1\n")
    with pytest.raises(ConfigurationError, match="has no Scripted"):
        load(path)
    with pytest.raises(ConfigurationError, match="no_such_module"):
        load(ClassPath("no_such_module", "A"))


def test_an_orchestrator_needs_a_host() -> None:
    with pytest.raises(ConfigurationError, match="at least one host"):
        Orchestrator(hosts=-1)
