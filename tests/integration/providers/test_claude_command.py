"""The `claude` command as a provider, against an executable that behaves like it, and like a broken one."""

import asyncio
import base64
import json
import os
import signal
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.processes import lives
from tests.support.providers.clock import settle
from tests.support.providers.servers import HELLO, QUICK, hello
from three_mode import LLMConnection, LLMRequest, errors
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import Image, Text, Thinking, Usage
from three_mode.policies import FallbackOptions, Policies

FAKE = Path(__file__).resolve().parents[2] / "support" / "providers" / "fake_claude.py"


class Claude:
    """The fake on PATH, and what it logged."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._log = folder / "log"
        script = folder / "claude"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_CLAUDE_LOG", str(self._log))

    def behave(self, how: str) -> LLMConnection:
        self._patch.setenv("FAKE_CLAUDE", how)
        return LLMConnection("claude-cli", policies=Policies(retry=QUICK), max_retries=0)

    def logged(self, what: str) -> list[Any]:
        if not self._log.exists():
            return []
        entries = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [entry[what] for entry in entries if what in entry]

    async def until_logged(self, what: str) -> None:
        for _ in range(500):
            if self.logged(what):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it never logged {what}")


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Claude:
    return Claude(tmp_path, monkeypatch)


async def no_children() -> None:
    """All that this test started is gone."""
    for _ in range(300):
        if not psutil.Process().children(recursive=True):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"left behind: {psutil.Process().children(recursive=True)}")


async def test_a_whole_reply(claude: Claude) -> None:
    async with claude.behave("good") as llm:
        reply = await llm.chat_completion(hello("opus"))
    assert reply.content == "Hello world!"
    assert reply.parts[0] == Thinking("hm", "c2ln", provider="claude-cli")
    assert reply.usage == Usage(12, 7, 4, 3, cost=Decimal("0.0125"))
    assert (reply.provider, reply.finish_reason, reply.extra["session_id"]) == (
        "claude-cli",
        "stop",
        "5e55-10n",
    )
    arguments = claude.logged("arguments")[0]
    assert arguments[:7] == [
        "-p",
        "--output-format",
        "stream-json",
        "--verbose",
        "--input-format",
        "stream-json",
        "--include-partial-messages",
    ]
    assert arguments[7:] == ["--model", "opus"]
    assert claude.logged("stdin") == [{"type": "user", "message": {"role": "user", "content": "Hello!"}}]
    await no_children()


@pytest.mark.parametrize("how", ["good", "greets", "no-partials", "uses-a-tool-of-its-own", "lingers"])
async def test_a_stream(claude: Claude, how: str) -> None:
    async with claude.behave(how) as llm:
        text = await llm.stream(hello(None)).text()
    assert text.endswith("Hello world!")
    assert claude.logged("arguments")[0][-2:] == ["--model", "sonnet"]
    await no_children()


async def test_what_it_is_told(claude: Claude) -> None:
    png = Image(data=b"123", mime="image/png")
    request = LLMRequest(
        messages=[
            {"role": "system", "content": "You are brief."},
            *HELLO,
            {"role": "assistant", "content": "Hi."},
            {"role": "user", "content": [Text("What?"), png]},
        ],
        reasoning="high",
        response_format={"json_schema": {"type": "object"}},
        extra={"resume": "abc", "args": ["--max-turns", "1"]},
    )
    async with claude.behave("good") as llm:
        await llm.chat_completion(request)
    arguments = claude.logged("arguments")[0]
    assert arguments[7:] == [
        "--model",
        "sonnet",
        "--system-prompt",
        "You are brief.",
        "--effort",
        "high",
        "--json-schema",
        '{"type":"object"}',
        "--resume=abc",
        "--max-turns",
        "1",
    ]
    content = claude.logged("stdin")[0]["message"]["content"]
    assert "user: Hello!" in content[0]["text"]
    assert "assistant: Hi." in content[0]["text"]
    assert content[-1]["source"]["data"] == base64.b64encode(b"123").decode()


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("dies-at-once", errors.ServerError, "something went wrong"),
        ("not-logged-in", errors.AuthenticationError, "login"),
        ("limit", errors.QuotaExhausted, "usage limit"),
        ("rubbish", errors.BadReply, "cannot be read"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_broken_one_is_an_error_that_says_why(
    claude: Claude, how: str, kind: type[errors.LLMError], words: str, streamed: bool
) -> None:
    async with claude.behave(how) as llm:
        work = llm.stream(hello(None)).text() if streamed else llm.chat_completion(hello(None))
        if how == "not-logged-in" and streamed:
            kind = errors.StreamInterrupted  # it says so as an answer first
        with pytest.raises(kind, match=words):
            await work
    await no_children()


async def test_one_that_is_killed_half_way(claude: Claude) -> None:
    async with claude.behave("cut") as llm:
        with pytest.raises(errors.StreamInterrupted, match="Segmentation") as caught:
            await llm.stream(hello(None)).text()
        assert caught.value.partial is not None
        assert caught.value.partial.content == "Hel"
    await no_children()


async def test_a_line_without_end_is_bounded(claude: Claude) -> None:
    async with claude.behave("endless-line") as llm:
        with pytest.raises(errors.LLMError, match="longer than"):
            await llm.chat_completion(hello(None, within=60))
    await no_children()


async def test_a_reply_without_end_is_bounded(claude: Claude) -> None:
    claude.behave("fine")
    options = ConnectionOptions(reply_bytes=300)
    async with LLMConnection("claude-cli", options=options, max_retries=0) as llm:
        with pytest.raises(errors.ReplyTooLarge):
            await llm.chat_completion(hello(None, within=60))
    await no_children()


@pytest.mark.parametrize("how", ["stalls", "ignores-input", "stalls-after"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_deadline_stops_it(claude: Claude, how: str, streamed: bool) -> None:
    async with claude.behave(how) as llm:
        request = hello(None, within=0.8)
        kind = errors.StreamInterrupted if streamed and how == "stalls-after" else errors.DeadlineExceeded
        with pytest.raises(kind):
            await (llm.stream(request).text() if streamed else llm.chat_completion(request))
    await no_children()


@pytest.mark.parametrize("how", ["stalls", "stubborn"])
async def test_a_cancelled_call_ends_the_process(claude: Claude, how: str) -> None:
    async with claude.behave(how) as llm:
        task = asyncio.ensure_future(llm.chat_completion(hello(None)))
        await claude.until_logged("stdin")
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await no_children()
    assert claude.logged("signal") == ["TERM"]


@pytest.mark.parametrize("started", [False, True])
async def test_closing_the_connection_ends_the_process(claude: Claude, started: bool) -> None:
    async with claude.behave("stalls") as llm:
        whole, streamed = llm.chat_completion(hello(None)), llm.stream(hello(None)).text()
        tasks = [asyncio.ensure_future(work) for work in (whole, streamed)]
        await settle()
        if started:
            await claude.until_logged("stdin")
        await llm.close()
        for task in tasks:
            with pytest.raises(errors.ConfigurationError, match="closed"):
                await asyncio.wait_for(task, 20)
    await no_children()


async def test_leaving_a_stream_ends_the_process_without_waiting(claude: Claude) -> None:
    async with claude.behave("stalls-after") as llm:
        async with llm.stream(hello(None)) as stream:
            async for chunk in stream:
                if chunk.text == "Hel":
                    break
        await no_children()


async def test_it_is_the_first_available_where_there_is_no_key(claude: Claude, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FAKE_CLAUDE", "good")
    async with LLMConnection() as llm:
        assert (await llm.chat_completion(hello(None))).provider == "claude-cli"
        assert (await llm.health())["claude-cli"].ok
        assert "sonnet" in await llm.models()


async def test_it_is_not_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    async with LLMConnection("claude-cli") as llm:
        with pytest.raises(errors.ConfigurationError, match="not on PATH"):
            await llm.chat_completion(hello(None))
        assert not (await llm.health())["claude-cli"].ok


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": 0.5},
        {"temperature": 0},
        {"seed": 1},
        {"seed": 0},
        {"stop": ["x"]},
        {"max_tokens": 5},
        {"reasoning": {"budget_tokens": 5}},
        {"extra": {"top_k": 1}},
    ],
)
async def test_what_it_cannot_do_is_an_error(claude: Claude, option: dict[str, Any]) -> None:
    async with claude.behave("good") as llm:
        with pytest.raises(errors.UnsupportedParameter):
            await llm.chat_completion(hello(None, **option))
    assert claude.logged("arguments") == []


@pytest.mark.parametrize("given", [{"api_key": "k"}, {"base_url": "http://x.test"}, {"headers": {"x": "1"}}])
async def test_an_account_that_it_would_not_use_is_an_error(claude: Claude, given: dict[str, Any]) -> None:
    options = ConnectionOptions(accounts={"claude-cli": Account(**given)})
    async with LLMConnection("claude-cli", options=options) as llm:
        for call in (llm.chat_completion(hello(None)), llm.stream(hello(None)).text()):
            with pytest.raises(errors.ConfigurationError, match="login of its own"):
                await call
    assert claude.logged("arguments") == []


async def test_it_falls_back_from_a_command_that_stalls(claude: Claude) -> None:
    from tests.support.providers.servers import account, transport
    from three_mode.policies import Target
    from three_mode.testing import ScriptedProvider

    claude.behave("stalls")
    async with ScriptedProvider("h2c") as server:
        policies = Policies(retry=QUICK, fallback=FallbackOptions(targets=(Target("openai", "m"),), first_content=0.5))
        options = ConnectionOptions(accounts={"openai": account("openai", server)}, transport=transport("h2c"))
        async with LLMConnection("claude-cli", policies=policies, options=options) as llm:
            assert (await llm.chat_completion(hello(None))).provider == "openai"
    await no_children()


def test_the_child_of_a_child_is_stopped_too(tmp_path: Path) -> None:
    from transports.process import ChildLines

    async def run() -> int:
        program = (
            "import subprocess, sys, time; "
            "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
            "print(p.pid, flush=True); time.sleep(60)"
        )
        async with ChildLines([sys.executable, "-c", program]) as child:
            return int(await anext(child))

    pid = asyncio.run(run())
    until = time.monotonic() + 3
    while time.monotonic() < until and lives(pid):
        time.sleep(0.01)
    assert not lives(pid)
    assert signal.SIGTERM
