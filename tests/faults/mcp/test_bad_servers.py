"""Servers of MCP that misbehave: a call is an error in time, never a hang, and no program is left behind."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.agents.until import until
from tests.support.tools.models import ScriptedModel, asking, call, calls, says
from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.tools import McpOptions, McpServerFailed, McpToolFailed, McpTools, Tools, UnfitArguments
from three_mode.tools.run import run
from three_mode.tools.run_state import RunLimits

PROGRAM = str(Path(__file__).resolve().parents[2] / "support" / "mcp" / "bad_server.py")
SOON = 15.0  # seconds on a machine that does much else


def command(kind: str) -> list[str]:
    return [sys.executable, "-I", "-S", PROGRAM, kind]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if PROGRAM in " ".join(_words(child))}


def _words(child: psutil.Process) -> list[str]:
    try:
        return child.cmdline()
    except psutil.Error:
        return []


@asynccontextmanager
async def server(kind: str, **options: Any) -> AsyncIterator[McpTools]:
    """One that speaks the handshake era, since what is wrong with it comes later."""
    given: dict[str, Any] = {"within": SOON, "connect_within": SOON, "protocol": "handshake"} | options
    async with Tools.from_mcp(command(kind), McpOptions(**given)) as found:
        yield found
    assert not children()


async def refused(kind: str, **options: Any) -> ThreeModeError:
    """The error of a server that cannot be entered."""
    with pytest.raises(ThreeModeError) as caught:
        async with server(kind, **options):
            pass
    assert not children()
    return caught.value


# at the start ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("step", ["initialize", "tools/list"])
async def test_a_server_that_dies_at_the_start_is_an_error(step: str) -> None:
    error = await refused(f"dies at {step}")
    assert isinstance(error, McpServerFailed)
    assert "ended with status 5" in error.message


@pytest.mark.parametrize("step", ["initialize", "tools/list"])
async def test_a_server_that_hangs_at_the_start_is_an_error_in_time(step: str) -> None:
    began = time.monotonic()
    error = await refused(f"hangs at {step}", connect_within=1.0)
    assert isinstance(error, DeadlineExceeded)
    assert time.monotonic() - began < SOON


async def test_a_server_that_dies_at_the_first_question_is_an_error() -> None:
    assert "ended with status 5" in (await refused("dies at server/discover", protocol="auto")).message


async def test_a_program_that_ends_says_why() -> None:
    error = await refused("exits")
    assert "ended with status 4" in error.message
    assert "no such database" in error.message


async def test_a_program_that_reads_nothing_is_killed() -> None:
    assert isinstance(await refused("deaf", connect_within=1.0), DeadlineExceeded)


async def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(McpServerFailed, match="did not start"):
        async with Tools.from_mcp(["/no/such/program"]):
            pass


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("bad_initialize", "what is no MCP: to initialize"),
        ("unknown_version", "speaks the version '1999-01-01' alone"),
        ("bad_list", "what is no MCP: to tools/list"),
    ],
)
async def test_answers_that_are_none_are_errors(kind: str, said: str) -> None:
    error = await refused(kind)
    assert isinstance(error, McpServerFailed)
    assert said in error.message


async def test_an_older_server_that_ignores_what_it_does_not_know_is_asked_as_it_expects() -> None:
    async with server("old_and_silent", protocol="auto", connect_within=4.0) as tools:
        assert await tools["echo"].call({"text": "hello"}) == "hello"


async def test_an_older_server_is_none_of_the_stateless_era() -> None:
    error = await refused("echo", protocol="stateless")
    assert "does not speak the stateless era" in error.message


# lists ----------------------------------------------------------------------------------------------------------------
async def test_tools_that_are_none_are_left_out() -> None:
    async with server("odd_tools") as tools:
        assert [tool.name for tool in tools] == ["echo", "a_b"]


async def test_a_list_without_end_is_cut() -> None:
    async with server("endless_list") as tools:
        assert [tool.name for tool in tools] == ["echo"]
    async with server("many_tools", most_tools=10) as tools:
        assert len(tools) == 10


# calls ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("pieces", "é"),
        ("garbage", "after garbage"),
        ("wrong_id", "yours"),
        ("batch", "after a batch"),
        ("floods", "after a flood"),
        ("asks", "-32601 {}"),
    ],
)
async def test_what_is_no_answer_is_passed_over(kind: str, answer: str) -> None:
    async with server(kind) as tools:
        assert await tools["echo"].call({"text": "hello"}) == answer


async def test_the_second_answer_to_a_call_is_none_to_the_next() -> None:
    async with server("twice") as tools:
        assert [await tools["echo"].call({"text": word}) for word in "abc"] == ["a", "b", "c"]


async def test_a_late_answer_is_none_to_the_next_call() -> None:
    async with server("late", within=0.3) as tools:
        with pytest.raises(DeadlineExceeded):
            await tools["echo"].call({"text": "late"})
    async with server("late") as tools:
        late = asyncio.ensure_future(tools["echo"].call({"text": "late"}))
        await asyncio.sleep(0.2)
        late.cancel()
        assert await tools["echo"].call({"text": "next"}) == "next"


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("dies", McpServerFailed, "ended with status 7; it wrote: out of memory"),
        ("killed", McpServerFailed, "ended by signal 9"),
        ("half_line", McpServerFailed, "ended with status 0"),
        ("long_line", McpServerFailed, "is longer than"),
        ("unread", McpServerFailed, "I cannot read"),
        ("bad_content", McpServerFailed, "what is no MCP"),
        ("no_result", McpServerFailed, "what is no MCP"),
        ("protocol_error", McpServerFailed, "refused the call of echo: no"),
        ("unfit", UnfitArguments, "no"),
        ("wants_input", McpToolFailed, "wants more than a call"),
    ],
)
async def test_calls_that_fail_are_errors(kind: str, error: type[Exception], said: str) -> None:
    async with server(kind, most_bytes=1 << 22) as tools:
        with pytest.raises(error) as caught:
            await tools["echo"].call({"text": "hello"})
        assert said in str(caught.value)


@pytest.mark.parametrize("kind", ["hangs", "only_garbage", "floods_for_ever"])
async def test_a_call_without_an_answer_ends_in_time(kind: str) -> None:
    async with server(kind, within=0.5) as tools:
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught:
            await tools["echo"].call({"text": "hello"})
        assert time.monotonic() - began < SOON
        if kind == "only_garbage":
            assert "Traceback" in str(caught.value)


async def test_a_line_beyond_the_limit_takes_no_memory() -> None:
    """It writes 200 MB."""
    before = psutil.Process().memory_info().rss
    async with server("long_line", most_bytes=1 << 20) as tools:
        with pytest.raises(McpServerFailed, match="longer than 1048576 bytes"):
            await tools["echo"].call({})
        assert psutil.Process().memory_info().rss - before < 50 << 20


async def test_a_server_that_has_died_is_started_by_the_next_call() -> None:
    async with server("dies_once") as tools:
        with pytest.raises(McpServerFailed, match="ended with status 7"):
            await tools["echo"].call({"text": "die"})
        assert await tools["echo"].call({"text": "hello"}) == "hello"


async def test_a_server_that_stays_is_killed_at_the_end() -> None:
    async with server("stubborn") as tools:
        assert await tools["echo"].call({"text": "hello"}) == "hello"
        assert len(children()) == 1


async def test_calls_that_run_when_it_is_closed_fail() -> None:
    async with server("hangs") as tools:
        running = asyncio.ensure_future(tools["echo"].call({}))
        await asyncio.sleep(0.1)
    with pytest.raises(McpServerFailed, match="was closed"):
        await running
    with pytest.raises(McpServerFailed, match="was closed"):
        await tools["echo"].call({})


async def test_a_program_killed_from_outside_ends_its_calls() -> None:
    async with server("hangs") as tools:
        running = asyncio.ensure_future(tools["echo"].call({}))
        await asyncio.sleep(0.1)
        os.kill(children().pop(), 9)
        with pytest.raises(McpServerFailed, match="ended by signal 9"):
            await running


async def test_the_model_reads_what_went_wrong() -> None:
    """A run goes on: a server that dies, or hangs, is a result like any other."""
    for kind, said in (("dies", "ended with status 7"), ("hangs", "did not answer tools/call within")):
        async with server(kind, within=0.5) as tools:
            model = ScriptedModel(calls(call("echo", text="hello")), says("I see"))
            reply = await run(model, asking(), Tools.of(tools), RunLimits(within=SOON))
            assert reply.content == "I see"
            assert said in str(model.seen[-1].messages[-1])


async def test_leaving_while_it_starts_leaves_no_program() -> None:
    entering = asyncio.ensure_future(Tools.from_mcp(command("hangs at initialize")).__aenter__())
    await until(lambda: bool(children()))
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    await until(lambda: not children())
