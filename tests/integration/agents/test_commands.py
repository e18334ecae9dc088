"""`three-mode agents` and `three-mode top` against a running bus."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.agents.agent_cast import Scout
from tests.support.agents.until import until
from three_mode import Orchestrator
from three_mode.agents.wire.orders import AgentReport, HostReport, Table
from three_mode.cli.agents_view import View, split_keys
from three_mode.errors import HandlerFailed

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=2) as running:
        scouts = await running.spawn(Scout, 6, name="scout")
        await scouts.gather(Scout.score, "hello")
        running.ref("nobody/1").tell("x")
        yield running


async def command(*words: str, columns: int = 200) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        *words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": str(columns)},
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_agents_lists_hosts_and_agents_for_people_and_programs(orc: Orchestrator) -> None:
    code, text = await command("agents", orc.name)
    assert code == 0
    assert "host-1" in text
    assert "scout/5" in text
    code, text = await command("agents", orc.name, "--json")
    table = json.loads(text)
    assert [agent["name"] for agent in table["agents"] if agent["name"] == "scout/5"] == ["scout/5"]
    assert {host["label"] for host in table["hosts"]} == {"host-1", "host-2"}
    code, text = await command("agents", orc.name, "--letters", "--json")
    assert [letter["to"] for letter in json.loads(text)] == ["nobody/1"]
    code, text = await command("agents", orc.name, "--letters")
    assert "nobody/1.x, from orchestrator, 1 bytes: no agent 'nobody/1' is on the bus" in text
    await orc.restart("scout/3")
    code, text = await command("agents", orc.name, "--events")
    assert code == 0
    assert "scout/3 was made anew in host-" in text


async def test_an_unknown_bus_is_an_error_in_words() -> None:
    code, text = await command("agents", "no-such-bus")
    assert code == 1
    assert "no-such-bus" in text


@pytest.mark.parametrize("words", [["agents"], ["agents", "--json"], ["top"], ["top", "--json"]])
async def test_an_error_is_one_line_as_it_is_and_apart_from_what_is_printed(words: list[str]) -> None:
    bus = "no[/bus] with a name that has [brackets] and is longer than a terminal is wide"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        words[0],
        bus,
        *words[1:],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "40"},
    )
    out, error = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out, error.count(b"\n")) == (1, b"", 1)
    assert bus in error.decode()


async def test_a_narrow_terminal_cuts_the_last_error_and_nothing_else(orc: Orchestrator) -> None:
    with pytest.raises(HandlerFailed):
        await orc.ref("scout/2").ask(Scout.fail, "because of this and that and a hundred things more")
    _, text = await command("agents", orc.name, columns=96)
    (line,) = (line for line in text.splitlines() if line.startswith("scout/2"))
    assert line.split()[:4] == ["scout/2", "Scout", line.split()[2], "idle"]
    assert "…" in line
    assert all(len(line) <= 96 for line in text.splitlines())


async def test_whoever_reads_only_the_beginning_gets_no_traceback(orc: Orchestrator) -> None:
    words = f"{sys.executable} -m three_mode.cli top {orc.name} --json --every 0.05 | head -c 20"
    process = await asyncio.create_subprocess_shell(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, error = await asyncio.wait_for(process.communicate(), 30)
    assert (len(out), error) == (20, b"")


async def test_top_as_json_looks_again_and_again(orc: Orchestrator) -> None:
    code, text = await command("top", orc.name, "--json", "--times", "3", "--every", "0.05")
    assert code == 0
    assert [len(json.loads(line)["agents"]) for line in text.splitlines()] == [6, 6, 6]


async def test_top_in_a_terminal_pauses_sorts_kills_and_quits_by_key(orc: Orchestrator) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        "top",
        orc.name,
        "--every",
        "0.1",
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "160", "LINES": "40", "TERM": "xterm"},
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def showing() -> bool:
        try:
            shown.extend(os.read(ours, 65536))
        except (BlockingIOError, OSError):
            pass
        return b"scout/0" in shown

    async def paused() -> bool:
        showing()
        return any(one.state == "paused" for one in (await orc.table()).agents)

    await until(showing, 20)
    os.write(ours, b"p")
    await until(paused)
    os.write(ours, b"p")

    async def resumed() -> bool:
        return not await paused()

    await until(resumed)
    os.write(ours, b"sssss")  # to the last of the orders

    def by_name() -> bool:
        showing()
        return b"agent v" in shown

    await until(by_name)
    killed = (await orc.table()).hosts[0]
    os.write(ours, b"k")  # the host of scout/0, which is now the first

    async def another() -> bool:
        showing()
        host = next(one for one in (await orc.table()).hosts if one.label == killed.label)
        return host.pid not in (0, killed.pid)

    await until(another, 20)
    await orc.bus.wait_for([f"scout/{number}" for number in range(6)], within=10)
    os.write(ours, b"q")

    async def ended() -> bool:
        showing()
        return process.returncode is not None

    await until(ended, 20)
    assert process.returncode == 0
    os.close(ours)


def report(name: str, messages: int, state: str = "idle") -> AgentReport:
    return AgentReport(name, "Scout", "host-1", state, 0, "", 0.0, messages, 0, 0, 0, None, None, "")


def table(when: float, messages: int) -> Table:
    host = HostReport("host-1", 1, "running", 2, 0.0, 0, messages, 0, 0, 0, 0.0, None, None)
    return Table("city", when, (host,), (report("a/10", 1), report("a/2", 5, "paused")))


async def test_keys_pressed_quickly_are_all_seen() -> None:
    assert split_keys("ss\x1b[B\x1bOAq") == ["s", "s", "\x1b[B", "\x1b[A", "q"]
    assert split_keys("\x1b") == ["\x1b"]


async def test_the_keys_of_top() -> None:
    view = View()
    view.seen(table(1.0, 100))
    assert [one.name for one in view.rows] == ["a/2", "a/10"]
    assert view.key("p") == ("resume", "a/2")
    assert view.key("\x1b[B") is None
    assert view.key("p") == ("pause", "a/10")
    assert view.key("k") == ("kill", "host-1")
    assert view.key("r") == ("restart", "a/10")
    assert view.key("x") == ("stop", "a/10")
    while view.sort != "name":
        assert view.key("s") is None
    assert [one.name for one in view.rows] == ["a/2", "a/10"]
    view.seen(table(3.0, 300))
    assert view.rates == {"host-1": 100.0}
    view.key("q")
    assert view.over
