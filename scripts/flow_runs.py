"""Runs one of the four flows and prints the entries of each run, for `flows.py`.

    FLOWS_TREE=DIR PYTHONPATH=DIR python scripts/flow_runs.py NAME

Hosts import this file for its agents, which record the entries of their own process.
"""

import asyncio
import json
import os
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import cache
from types import FrameType
from typing import Any, NamedTuple

import uvloop
from hot_paths import COUNT, HELLO, ITEM, connected, hold_up_decodes

from three_mode import Agent, LLMRequest, Orchestrator, handler, on
from three_mode.testing import ScriptedProvider

TREE = os.environ["FLOWS_TREE"]
PACKAGES = ("three_mode/", "transports/", "local_models/")
OTHER_END = "three_mode/testing/"
ROUNDS, WARM = 15, 5
SETTLE = 0.05  # seconds until a process is idle after the recorder starts
AFTERWARDS = 0.01  # seconds for the work of a receiver after its answer


class Entry(NamedTuple):
    """A call into a file from another file."""

    at: int
    file: str
    function: str
    caller: str


@cache
def project_file(name: str) -> str:
    """Path in the tree of a file that is counted; "" for any other."""
    inside = name.removeprefix(TREE + "/") if name.startswith(TREE + "/") else ""
    return inside if inside.startswith(PACKAGES) and not inside.startswith(OTHER_END) else ""


class Recorder:
    """Recorder of the entries of this process, by thread."""

    def __init__(self) -> None:
        self.on = False
        self.threads: dict[int, list[Entry]] = {}
        self.reached = 0  # time at which a handler of this process was called

    def start(self) -> None:
        """Starts to record."""
        self.threads.clear()
        self.on = True
        sys.setprofile(self.called)

    def stop(self) -> dict[int, list[Entry]]:
        """Stops; returns the entries by thread."""
        self.on = False
        sys.setprofile(None)
        return self.threads

    def called(self, frame: FrameType, event: str, _argument: object) -> None:
        """Records a call, as the profile function of the interpreter."""
        if event != "call" or not self.on:
            return
        code = frame.f_code
        file = project_file(code.co_filename)
        resumed = code.co_code[frame.f_lasti + 1]  # RESUME's argument: not 0 after a yield or an await
        if not file or resumed:
            return
        back = frame.f_back
        while back is not None and not project_file(back.f_code.co_filename):
            back = back.f_back
        caller = project_file(back.f_code.co_filename) if back is not None else ""
        if caller != file:
            entry = Entry(time.monotonic_ns(), file, code.co_qualname, caller)
            self.threads.setdefault(threading.get_ident(), []).append(entry)


recorder = Recorder()


def between(entries: list[Entry], begin: int, end: int) -> list[Entry]:
    """Entries of a period."""
    return [entry for entry in entries if begin <= entry.at <= end]


@types.coroutine
def noting(work: Coroutine[Any, Any, Any], waited: list[int]) -> Generator[Any, Any, Any]:
    """Awaits `work`, and notes the time at which it first had to wait."""
    steps = work.__await__()
    first = next(steps)
    waited.append(time.monotonic_ns())
    yield first
    return (yield from steps)


async def rounds(once: Callable[[], Awaitable[list[Entry]]]) -> list[list[Entry]]:
    """Runs a flow several times; drops the first runs, which warm up."""
    return [await once() for _ in range(WARM + ROUNDS)][WARM:]


# --- flows ---
class Watched(Agent):
    """Agent that records the entries of its process."""

    @handler
    def record(self) -> int:
        recorder.start()
        return os.getpid()

    @handler
    def recorded(self) -> tuple[list[tuple[int, str, str, str]], int]:
        entries = recorder.stop().get(threading.get_ident(), [])
        return [(entry.at, entry.file, entry.function, entry.caller) for entry in entries], recorder.reached

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        recorder.reached = time.monotonic_ns()

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    async def ask_other(self, name: str) -> tuple[int, int, int]:
        """Times at which it began to ask, waited for the answer, and had the answer."""
        await asyncio.sleep(SETTLE)  # suspending this handler belongs to the ask that started it
        waited: list[int] = []
        begin = time.monotonic_ns()
        await noting(self.ref(name).ask(Watched.echo, "hello"), waited)
        return begin, waited[0], time.monotonic_ns()


async def recorded(agent: Any) -> tuple[list[Entry], int]:
    entries, reached = await agent.ask(Watched.recorded)
    return [Entry(*entry) for entry in entries], reached


async def broadcast() -> list[list[Entry]]:
    """Broadcasts to a plain handler."""
    async with Orchestrator(hosts=1) as orc:
        agent = await orc.spawn(Watched, name="watched")

        async def once() -> list[Entry]:
            await agent.ask(Watched.record)
            await asyncio.sleep(SETTLE)
            recorder.start()
            begin = time.monotonic_ns()
            orc.broadcast("news.eu", ITEM)
            sent = recorder.stop()[threading.get_ident()]
            await asyncio.sleep(SETTLE)
            entries, reached = await recorded(agent)
            return sent + between(entries, begin, reached)

        return await rounds(once)


async def http2() -> list[list[Entry]]:
    """Calls a model over HTTP/2."""
    request = LLMRequest(model="gpt-4o", messages=HELLO)
    async with ScriptedProvider("h2") as provider, connected(provider.url) as llm:

        async def once() -> list[Entry]:
            await asyncio.sleep(SETTLE)
            recorder.start()
            await llm.chat_completion(request)
            return list(recorder.stop()[threading.get_ident()])

        return await rounds(once)


async def token() -> list[list[Entry]]:
    """Streams from a local model."""
    from local_models import LoadOptions, LocalModel

    decoded: list[tuple[int, str]] = []  # end of each decode, and the file that called it

    def note() -> None:
        decoded.append((time.monotonic_ns(), project_file(sys._getframe(2).f_code.co_filename)))

    hold_up_decodes(note)
    threading.setprofile(recorder.called)  # for the engine's thread
    found = []
    async with await LocalModel.load("tiny", LoadOptions(threads=1, sequences=1)) as model:
        for _ in range(WARM):
            recorder.start()
            async for _piece in model.stream(COUNT, max_tokens=12, temperature=0.0):
                received = time.monotonic_ns()
                last = max(decode for decode in decoded if decode[0] <= received)
                found.append((last, received, {thread: list(all_) for thread, all_ in recorder.threads.items()}))
            recorder.stop()
            found = found[:-1]  # the last piece comes with the end of the call
    own = threading.get_ident()
    flows = []
    for (end, file), received, threads in found[len(found) // 2 :]:
        engine = [entry for thread, entries in threads.items() if thread != own for entry in entries]
        ours = between(engine, end, received)
        if ours and ours[-1].file == file:
            ours.pop()  # the next decode
        flows.append(ours + between(threads.get(own, []), end, received))
    return flows


async def ask() -> list[list[Entry]]:
    """Asks from an agent to an agent in another process."""
    async with Orchestrator(hosts=2) as orc:
        asker, answerer = await orc.spawn(Watched, 2, name="watched")

        async def once() -> list[Entry]:
            assert await asker.ask(Watched.record) != await answerer.ask(Watched.record)
            await asyncio.sleep(SETTLE)
            begin, waited, end = await asker.ask(Watched.ask_other, answerer.name)
            await asyncio.sleep(SETTLE)
            asking, answering = (await recorded(asker))[0], (await recorded(answerer))[0]
            answer = between(answering, begin, end + int(AFTERWARDS * 1e9))
            return between(asking, begin, waited) + answer + between(asking, waited, end)

        return await rounds(once)


FLOWS = {flow.__name__: flow for flow in (broadcast, http2, token, ask)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(FLOWS[sys.argv[1]]())))
