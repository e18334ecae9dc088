"""Shows which files each of the four flows visits, in order, and how often.

    python scripts/flows.py                     the tree that this file is in, as tables
    python scripts/flows.py --tree DIR NAME...  another tree's packages, some flows
    python scripts/flows.py --json FILE         also written down

The flows are a broadcast from `orc.broadcast` to a plain handler (`broadcast`), a model call over HTTP/2 and back (`http2`), a
token from `llama_decode` to the reader of its stream (`token`), and an ask from an agent to an agent in another host process
(`ask`). Each runs warm, several times, and what most of the runs did is shown: in some a timer of the bus fires meanwhile.

What is counted are calls of Python functions (`sys.setprofile`) in files of three_mode, transports and local_models, but for
three_mode/testing, which is the other end of the HTTP/2 call:

- An *entry* is a call into a file from another file: from a function there, directly or through the standard library or C, or
  from the event loop. The return of a call is none, nor is a coroutine that goes on after it waited, since that is a return.
- A *visit* is a run of entries into one file with no other file's between them. A file that is entered, left for another and
  entered again has been visited twice; a reader has to open it twice.
- A *leaf* is a visit from which no other file was entered: a helper, an error, a value being made. The rest are *journeys*:
  places that a reader has to go through to get on.

Where two processes or threads take part their entries are put one after another as the message goes: the sender until it
waits, the receiver with all it does about the message, then the sender again. A token ends the engine's part: what the engine
does for the next one is not of this flow.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
CHILD = "FLOWS_CHILD"  # the environment variable that says whose packages: set in the processes that run them
TREE = os.environ.get(CHILD, "")
PACKAGES = ("three_mode/", "transports/", "local_models/")
OTHER_END = "three_mode/testing/"
ROUNDS, WARM = 15, 5
SETTLE = 0.05  # seconds until a process has done what starting the recorder made it do
AFTERWARDS = 0.01  # seconds for what a receiver does after its answer
DECODING = 0.03  # seconds that each decode is held up, so that a token reaches its reader before the next one is made


class Entry(NamedTuple):
    """A call into a file from another one."""

    at: int
    file: str
    function: str
    caller: str


@cache
def project_file(name: str) -> str:
    """The path in the tree of a file that counts, or nothing."""
    inside = name.removeprefix(TREE + "/") if name.startswith(TREE + "/") else ""
    return inside if inside.startswith(PACKAGES) and not inside.startswith(OTHER_END) else ""


class Recorder:
    """The entries of this process, by thread, while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.threads: dict[int, list[Entry]] = {}
        self.reached = 0  # when a handler of this process was

    def start(self) -> None:
        self.threads.clear()
        self.on = True
        sys.setprofile(self.called)

    def stop(self) -> dict[int, list[Entry]]:
        self.on = False
        sys.setprofile(None)
        return self.threads

    def called(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or not self.on:
            return
        code = frame.f_code
        file = project_file(code.co_filename)
        if (
            not file or code.co_code[frame.f_lasti + 1]
        ):  # RESUME's argument: 0 at the start, else after a yield or an await
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
    return [entry for entry in entries if begin <= entry.at <= end]


@types.coroutine
def noting(work: Coroutine[Any, Any, Any], waited: list[int]) -> Generator[Any, Any, Any]:
    """Awaits, and notes when it first had to wait."""
    steps = work.__await__()
    first = next(steps)
    waited.append(time.monotonic_ns())
    yield first
    return (yield from steps)


# the flows ------------------------------------------------------------------------------------------------------------
if TREE:
    from hot_paths import COUNT, HELLO, ITEM, connected

    from three_mode import Agent, LLMRequest, Orchestrator, handler, on
    from three_mode.testing import ScriptedProvider

    class Watched(Agent):
        """Records what its process does."""

        @handler
        def record(self) -> int:
            recorder.start()
            return os.getpid()

        @handler
        def recorded(self) -> tuple[list[tuple[int, str, str, str]], int]:
            entries = recorder.stop().get(threading.get_ident(), [])
            return [(one.at, one.file, one.function, one.caller) for one in entries], recorder.reached

        @on("news.*")
        def read(self, item: dict[str, Any]) -> None:
            recorder.reached = time.monotonic_ns()

        @handler
        async def echo(self, text: str) -> str:
            return text

        @handler
        async def ask_other(self, name: str) -> tuple[int, int, int]:
            """When it began to ask, when it had asked and waited, and when it had the answer."""
            await asyncio.sleep(SETTLE)  # what suspending this handler takes belongs to the question that started it
            waited: list[int] = []
            begin = time.monotonic_ns()
            await noting(self.ref(name).ask(Watched.echo, "hello"), waited)
            return begin, waited[0], time.monotonic_ns()

    async def recorded(agent: Any) -> tuple[list[Entry], int]:
        entries, reached = await agent.ask(Watched.recorded)
        return [Entry(*entry) for entry in entries], reached

    async def broadcast() -> list[list[Entry]]:
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
        request = LLMRequest(model="gpt-4o", messages=HELLO)
        async with ScriptedProvider("h2") as provider, connected(provider.url) as llm:

            async def once() -> list[Entry]:
                await asyncio.sleep(SETTLE)
                recorder.start()
                await llm.chat_completion(request)
                return list(recorder.stop()[threading.get_ident()])

            return await rounds(once)

    async def token() -> list[list[Entry]]:
        import llama_cpp

        from local_models import LoadOptions, LocalModel

        decoded: list[tuple[int, int, str]] = []  # of each decode: when it began and ended, and the file that called it
        decode = llama_cpp.llama_decode

        def slow_decode(*given: Any) -> Any:
            began = time.monotonic_ns()
            time.sleep(DECODING)
            code = decode(*given)
            decoded.append((began, time.monotonic_ns(), project_file(sys._getframe(1).f_code.co_filename)))
            return code

        llama_cpp.llama_decode = slow_decode
        threading.setprofile(recorder.called)  # for the engine's thread
        found = []
        async with await LocalModel.load("tiny", LoadOptions(threads=1, sequences=1)) as model:
            for _ in range(WARM):
                recorder.start()
                async for _piece in model.stream(COUNT, max_tokens=12, temperature=0.0):
                    received = time.monotonic_ns()
                    last = max((one for one in decoded if one[1] <= received), key=lambda one: one[1])
                    found.append((last, received, {thread: list(all_) for thread, all_ in recorder.threads.items()}))
                recorder.stop()
                found = found[:-1]  # the last piece comes with the end of the call
        own = threading.get_ident()
        flows = []
        for (_, end, file), received, threads in found[len(found) // 2 :]:
            engine = [one for thread, entries in threads.items() if thread != own for one in entries]
            ours = between(engine, end, received)
            if ours and ours[-1].file == file:
                ours.pop()  # the next decode
            flows.append(ours + between(threads.get(own, []), end, received))
        return flows

    async def ask() -> list[list[Entry]]:
        async with Orchestrator(hosts=2) as orc:
            one, other = await orc.spawn(Watched, 2, name="watched")

            async def once() -> list[Entry]:
                assert await one.ask(Watched.record) != await other.ask(Watched.record)
                await asyncio.sleep(SETTLE)
                begin, waited, end = await one.ask(Watched.ask_other, other.name)
                await asyncio.sleep(SETTLE)
                asker, answerer = (await recorded(one))[0], (await recorded(other))[0]
                there = between(answerer, begin, end + int(AFTERWARDS * 1e9))
                return between(asker, begin, waited) + there + between(asker, waited, end)

            return await rounds(once)

    FLOWS = {flow.__name__: flow for flow in (broadcast, http2, token, ask)}


async def rounds(once: Callable[[], Awaitable[list[Entry]]]) -> list[list[Entry]]:
    return [await once() for _ in range(WARM + ROUNDS)][WARM:]


# what became of them --------------------------------------------------------------------------------------------------
@dataclass
class Visit:
    """A run of entries into one file."""

    file: str
    functions: list[str]
    leaf: bool = True


def visits(entries: list[Entry]) -> list[Visit]:
    found: list[Visit] = []
    last: dict[str, Visit] = {}
    for entry in entries:
        if entry.caller in last:
            last[entry.caller].leaf = False
        if not found or found[-1].file != entry.file:
            found.append(Visit(entry.file, []))
            last[entry.file] = found[-1]
        found[-1].functions.append(entry.function)
    return found


def usual(runs: list[list[Entry]]) -> list[Entry]:
    """The run that most runs were like; of two that were as frequent, the shorter one."""
    shapes = Counter(tuple((entry.file, entry.function) for entry in run) for run in runs)
    chosen = max(shapes, key=lambda shape: (shapes[shape], -len(shape)))
    return next(run for run in runs if tuple((entry.file, entry.function) for entry in run) == chosen)


def summary(name: str, runs: list[list[Entry]]) -> dict[str, Any]:
    way = visits(usual(runs))
    times, journeys = Counter(one.file for one in way), Counter(one.file for one in way if not one.leaf)
    return {
        "flow": name,
        "files": len(times),
        "visits": len(way),
        "journeys": journeys.total(),
        "most_visits": max(times.values()),
        "by_file": [{"file": file, "visits": times[file], "journeys": journeys[file]} for file in times],
        "way": [asdict(one) for one in way],
    }


def table(flows: list[dict[str, Any]]) -> str:
    lines = [f"{'flow':10} {'files':>5} {'visits':>6} {'journeys':>8} {'most of one file':>16}"]
    for flow in flows:
        figures = f"{flow['files']:5} {flow['visits']:6} {flow['journeys']:8} {flow['most_visits']:16}"
        lines.append(f"{flow['flow']:10} {figures}")
    for flow in flows:
        lines += ["", f"{flow['flow']}: files in the order of their first visit", " visits journeys"]
        lines += [f"{one['visits']:7} {one['journeys']:8}  {one['file']}" for one in flow["by_file"]]
        lines += ["", f"{flow['flow']}: the way (leaves indented)"]
        for one in flow["way"]:
            lines.append(f"  {'    ' * one['leaf']}{one['file']}: {', '.join(dict.fromkeys(one['functions']))}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows which files the four flows visit.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="broadcast, http2, token, ask")
    parser.add_argument("--tree", type=Path, default=HERE.parent, help="whose packages are shown")
    parser.add_argument("--json", type=Path, help="a file for the result")
    given = parser.parse_args()
    flows = []
    for name in given.names or ("broadcast", "http2", "token", "ask"):
        tree = str(given.tree.resolve())
        env = os.environ | {CHILD: tree, "PYTHONPATH": tree}
        done = subprocess.run([sys.executable, __file__, name], env=env, cwd=tree, stdout=subprocess.PIPE, check=True)
        flows.append(json.loads(done.stdout))
    print(table(flows))
    if given.json is not None:
        given.json.write_text(json.dumps(flows, indent=2) + "\n")


if __name__ == "__main__":
    if TREE:
        import uvloop

        flow = sys.argv[1]
        print(json.dumps(summary(flow, uvloop.run(FLOWS[flow]()))))
    else:
        main()
