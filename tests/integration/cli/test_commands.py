"""Commands as people and programs run them: buses, agents to chat with, tables in terminals and pipes, extras."""

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from three_mode import Agent, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Text

pytestmark = pytest.mark.asyncio(loop_scope="module")
STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
# Runs a command of three-mode where the packages of the extra `local` are not installed.
WITHOUT_LOCAL = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("llama_cpp", "numpy", "jinja2"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from three_mode.cli import main
sys.exit(main(sys.argv[1:]))
"""


class Clerk(Agent):
    """Answers with what was said."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(f"[{request.messages[-1].text}] noted"),), model="clerk")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1, name=f"offices-{os.getpid()}") as running:
        await running.spawn(Clerk, 2, name="clerk")
        yield running


async def command(*words: str, start: tuple[str, ...] = ("-m", "three_mode.cli"), **environment: str) -> list[str]:
    """Exit code, output and errors of a command whose output is read by a program."""
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *start, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**inherited, **environment}
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return [str(process.returncode), out.decode(), err.decode()]


async def test_buses_lists_those_that_run(orc: Orchestrator) -> None:
    code, out, _ = await command("buses", "--json")
    (found,) = (bus for bus in json.loads(out)["buses"] if bus["name"] == orc.name)
    assert (code, found) == ("0", found | {"agents": 2, "roles": ["clerk"], "problem": "", "members": 2})
    code, out, _ = await command("buses")
    (line,) = (line for line in out.splitlines() if orc.name in line)
    assert line.split() == [orc.name, "2", "2", "clerk"]


async def test_no_bus_is_said(tmp_path: Path) -> None:
    assert await command("buses", "--json", XDG_RUNTIME_DIR=str(tmp_path)) == ["0", '{\n "buses": []\n}\n', ""]
    _, out, _ = await command("buses", XDG_RUNTIME_DIR=str(tmp_path))
    assert "no bus is running" in out


@pytest.mark.parametrize("model", ["clerk", "agent:clerk", "clerk/1"])
async def test_chat_finds_the_agent_of_a_bus(orc: Orchestrator, model: str) -> None:
    code, out, _ = await command("chat", "--bus", orc.name, "--model", model, "--say", "three chairs")
    assert code == "0"
    assert "[three chairs] noted" in out


async def test_chat_names_the_agents_where_none_has_that_name(orc: Orchestrator) -> None:
    code, _, err = await command("chat", "--bus", orc.name, "--model", "clark", "--say", "x")
    assert code == "1"
    assert f"no agent 'clark' is on the bus '{orc.name}'" in err
    assert "its agents are clerk" in err


async def test_chat_takes_the_model_and_the_defaults_of_a_config_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        'default_model = "small"\n[defaults]\nmax_tokens = 1\ntemperature = 0\n[models.small]\npath = "m.gguf"'
    )
    from local_models.files.catalogue import TINY

    (tmp_path / "m.gguf").write_bytes(TINY.read_bytes())
    code, out, _ = await command("chat", "--config", str(file), "--say", "What is 21 + 34?")
    assert code == "0"
    assert "small" in out
    assert "+1 tokens" in out


async def test_models_without_the_extra_says_so_and_how_to_get_it() -> None:
    code, out, _ = await command("models", start=("-c", WITHOUT_LOCAL))
    assert code == "0"
    assert "none of them can run here: cannot run local models: llama_cpp is not installed" in out
    assert "pip install 'three-mode[local]'" in out
    code, out, _ = await command("models", "--json", start=("-c", WITHOUT_LOCAL))
    assert "three-mode[local]" in json.loads(out)["engine_problem"]


async def test_a_model_that_is_added_without_the_extra_says_so(tmp_path: Path) -> None:
    from local_models.files.catalogue import TINY

    words = ("models", "add", str(TINY), "--name", "again")
    code, out, err = await command(*words, start=("-c", WITHOUT_LOCAL), THREE_MODE_MODELS=str(tmp_path))
    assert (code, out) == ("0", f"added again: {TINY}\n")
    assert "it cannot run here" in err
    assert "three-mode[local]" in err


async def test_a_table_in_a_pipe_is_not_cut(tmp_path: Path) -> None:
    from local_models.files.catalogue import TINY

    folder = tmp_path / ("a-folder-with-a-long-name-" * 6)
    folder.mkdir()
    (folder / "brain.gguf").write_bytes(TINY.read_bytes())
    _, out, _ = await command("models", THREE_MODE_MODELS=str(folder))
    (line,) = (line for line in out.splitlines() if line.startswith("brain"))
    assert line.split()[-1] == str(folder / "brain.gguf")


async def test_a_table_in_a_terminal_is_as_wide_as_the_terminal(orc: Orchestrator) -> None:
    for columns in (70, 140):
        ours, theirs = pty.openpty()
        environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "three_mode.cli", "models", stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        shown = await asyncio.to_thread(_read_all, ours)
        await asyncio.wait_for(process.wait(), 30)
        assert max(len(line.rstrip()) for line in STYLE.sub("", shown).splitlines()) <= columns


def _read_all(fd: int) -> str:
    shown = b""
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:  # the other side has gone
            data = b""
        if not data:
            os.close(fd)
            return shown.decode()
        shown += data
