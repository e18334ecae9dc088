"""After `importlib.reload`, or an edit of a notebook's cell, agents have the new code, or an error says who has not."""

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.agents.until import until
from three_mode import Agent, Orchestrator, handler
from three_mode.agents import AgentRestarted, Restart
from three_mode.agents.supervisor.reloads import Reloads, used_first
from three_mode.errors import ConfigurationError, HandlerFailed, NoSuchAgent

HELPER = "def word():\n    return {word!r}\n"
CAST = """
import sys
from three_mode import Agent, handler, on
from reloaded_helper import word

if {fails} and sys.argv[0].startswith("three-mode host"):
    raise RuntimeError("not here")

class Sayer(Agent):
    def __init__(self):
        self.heard = []

    @handler
    def say(self):
        return "{text} " + word()

    @handler
    def fail(self):
        raise ValueError("enough")

    @handler
    async def slow(self):
        import asyncio
        await asyncio.sleep(30)

    @handler
    def {extra}(self):
        return self.heard

    @on("topic")
    def hear(self, item):
        self.heard.append("{text}")
"""
Write = Callable[..., ModuleType]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the two modules, and import or reload those that were imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits within one second would not be seen
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")

    def write_both(text: str, word: str, extra: str = "one", fails: bool = False, reload: bool = True) -> Any:
        (tmp_path / "reloaded_helper.py").write_text(HELPER.format(word=word))
        (tmp_path / "reloaded_cast.py").write_text(CAST.format(text=text, extra=extra, fails=fails))
        importlib.invalidate_caches()
        if "reloaded_cast" in sys.modules and reload:
            importlib.reload(sys.modules["reloaded_helper"])
            return importlib.reload(sys.modules["reloaded_cast"])
        return importlib.import_module("reloaded_cast")

    yield write_both
    for name in ("reloaded_cast", "reloaded_helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("hosts", [0, 2])
async def test_new_agents_have_the_new_code(write: Write, hosts: int) -> None:
    cast = write("old", "words")
    async with Orchestrator(hosts=hosts) as orc:
        old = await orc.spawn(cast.Sayer, 2, name="old")
        assert set(await old.gather("say")) == {"old words"}
        cast = write("new", "names")
        new = await orc.spawn(cast.Sayer, 4, name="new")
        assert set(await new.gather("say")) == {"new names"}
        assert len(await old.gather("say")) == 2  # those that live go on
        assert (await (await orc.broadcast("topic", 1)).settled(5.0)).seen == 6


@pytest.mark.parametrize("hosts", [0, 1])
async def test_restarted_agents_have_the_new_code(write: Write, hosts: int) -> None:
    cast = write("old", "words")
    async with Orchestrator(hosts=hosts) as orc:
        sayers = await orc.spawn(cast.Sayer, 2, name="sayer")
        cast = write("new", "names", extra="two")
        with pytest.raises(ConfigurationError, match=r"has the old code of Sayer.*orc\.restart"):
            await orc.spawn(cast.Sayer, name="sayer")
        running = asyncio.ensure_future(sayers[0].ask("slow"))
        await asyncio.sleep(0)  # it is sent
        waiting = [asyncio.ensure_future(sayers[0].ask(name)) for name in ("say", "one")]
        await asyncio.sleep(0)  # it is sent
        await orc.restart(sayers)
        answers = await asyncio.gather(running, *waiting, return_exceptions=True)
        assert answers[1] == "new names"  # it waited for the new agent
        assert isinstance(answers[2], NoSuchAgent)
        assert (await (await orc.broadcast("topic", 1)).settled(5.0)).seen == 2
        assert await sayers[1].ask("two") == ["new"]
        one_more = await orc.spawn(cast.Sayer, name="sayer")
        assert await one_more.ask("say") == "new names"


async def test_a_host_that_keeps_old_code_is_an_error(write: Write) -> None:
    cast = write("old", "words")
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(cast.Sayer, name="old")
        cast = write("bad", "words", fails=True)
        with pytest.raises(ConfigurationError, match=r"host-1 has the old code of reloaded_cast.*not here"):
            await orc.spawn(cast.Sayer, name="new")
        cast = write("good", "words")
        assert await (await orc.spawn(cast.Sayer, name="new")).ask("say") == "good words"


async def test_an_agent_that_failed_comes_back_with_the_code_that_its_host_has(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    cast = write("old", "words")
    async with Orchestrator(hosts=1) as orc:
        sayer = await orc.spawn(cast.Sayer, restart=Restart(on_error=True))
        write("bad", "words", fails=True)
        with pytest.raises(HandlerFailed):
            await sayer.ask("fail")
        await until(lambda: any(isinstance(event, AgentRestarted) for event in orc.events))
        assert await sayer.ask("say") == "old words"
        assert "host-1 has the old code of reloaded_cast" in caplog.text
        with pytest.raises(ConfigurationError, match="host-1 has the old code"):
            await orc.restart(sayer)


async def test_a_class_from_before_the_reload_is_named(write: Write) -> None:
    before = write("old", "words").Sayer
    write("new", "words")
    async with Orchestrator(hosts=1) as orc:
        with pytest.raises(ConfigurationError, match=r"loaded anew.*from reloaded_cast import Sayer"):
            await orc.spawn(before)


async def test_an_edited_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    def run_cell(answer: str) -> type[Agent]:
        code = f"class Cell(Agent):\n    @handler\n    def say(self) -> str:\n        return {answer!r}\n"
        exec(code, vars(main) | {"Agent": Agent, "handler": handler}, vars(main))
        main.Cell.__module__ = "__main__"  # type: ignore[attr-defined]
        return main.Cell  # type: ignore[attr-defined, no-any-return]

    async with Orchestrator(hosts=0) as orc:
        first = await orc.spawn(run_cell("old"), name="cell")
        edited = run_cell("new")
        assert await first.ask("say") == "old"
        with pytest.raises(ConfigurationError, match="old code of Cell"):
            await orc.spawn(edited, name="cell")
        await orc.restart(first)
        assert await first.ask("say") == "new"
        assert await (await orc.spawn(edited, name="cell")).ask("say") == "new"


def test_what_a_module_uses_comes_first(write: Write) -> None:
    write("a", "b")
    reloads = Reloads()
    length = reloads.look()
    assert reloads.since(0) == ()
    write("c", "d")
    assert reloads.look() == length + 2
    assert reloads.since(length) == ("reloaded_helper", "reloaded_cast")
    assert used_first(["reloaded_cast", "reloaded_helper"]) == ["reloaded_helper", "reloaded_cast"]
