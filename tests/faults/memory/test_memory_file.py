"""The file of a memory beside other processes: killed ones, writing ones, forked ones."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from three_mode import errors
from three_mode.memory import Memory, MemoryOptions

WRITER = """
import asyncio, sys
from tests.support.memory import Meanings
from three_mode.memory import Memory, MemoryOptions

async def main(path, name):
    async with Memory(path, namespace=name, llm=Meanings(), options=MemoryOptions(embedding_model="m")) as memory:
        number = 0
        while True:
            number += 1
            kept = await memory.remember(f"{name} has cat {number}")
            if number % 3 == 0:
                await memory.forget(kept.id)
            print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def start(path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)


def whole(path: Path) -> None:
    """The index of words, the vectors and the counts fit the memories."""
    file = sqlite3.connect(path)
    try:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        file.execute("INSERT INTO memory_terms (memory_terms) VALUES ('integrity-check')")
        ids = file.execute("SELECT id FROM memory ORDER BY id").fetchall()
        assert file.execute("SELECT rowid FROM memory_terms ORDER BY rowid").fetchall() == ids
        assert set(file.execute("SELECT memory FROM vector")) <= set(ids)
        counted = "SELECT namespace, count(*) FROM memory GROUP BY namespace ORDER BY 1"
        assert (
            file.execute("SELECT id, memories FROM namespace ORDER BY 1").fetchall() == file.execute(counted).fetchall()
        )
    finally:
        file.close()


async def test_a_writer_killed_at_any_moment_loses_nothing_that_it_had_done(tmp_path: Path) -> None:
    path, chance = tmp_path / "memory.db", random.Random(18)
    done = 0
    for round_ in range(6):
        process = start(path, f"w{round_}")
        assert process.stdout is not None
        for _ in range(chance.randint(1, 30)):
            done = int(process.stdout.readline())
        await asyncio.sleep(chance.random() / 50)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        done = int(rest[-1]) if rest else done
        async with Memory(path, namespace=f"w{round_}") as memory:
            found = {each.text for each in await memory.recall("cat", limit=2000)}
            assert {f"w{round_} has cat {n}" for n in range(1, done + 1) if n % 3} <= found
            assert not {f"w{round_} has cat {n}" for n in range(1, done + 1) if n % 3 == 0} & found
            await memory.remember("still works")
        whole(path)


async def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    writers = [start(path, name) for name in ("one", "two")]  # both make the file
    try:
        async with Memory(path, namespace="three") as memory:
            for number in range(30):
                await memory.remember(f"three has dog {number}")
            assert await memory.count() == 30
            for name, writer in zip(("one", "two"), writers, strict=True):
                assert writer.stdout is not None
                lines = [writer.stdout.readline() for _ in range(10)]
                assert lines[-1] == "10\n"
                assert len(await memory.scoped(name).recall("cat", limit=100)) >= 7
                assert await memory.scoped(name).recall("dog") == []
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    whole(path)


async def test_a_process_that_keeps_the_file_is_an_error_by_name_and_searches_go_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with Memory(path, options=MemoryOptions(busy_within=0.1)) as memory:
        await memory.remember("tea")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(errors.Overloaded, match="another process wrote") as caught:
            await memory.remember("coffee")
        assert caught.value.retryable
        assert [each.text for each in await memory.recall("tea")] == ["tea"]
        other.execute("ROLLBACK")
        other.close()
        await memory.remember("coffee")
        assert await memory.count() == 2


async def test_a_disk_that_is_full_is_an_error_and_the_memory_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with Memory(path) as memory:
        await memory.remember("tea")
        await memory._file.run(lambda file: file.execute("PRAGMA max_page_count=1"))
        with pytest.raises(errors.ConfigurationError, match="full"):
            await memory.remember_many([f"{n} " * 500 for n in range(50)])
        await memory._file.run(lambda file: file.execute("PRAGMA max_page_count=1000000"))
        assert [each.text for each in await memory.recall("tea")] == ["tea"]
        await memory.remember("coffee")
        assert await memory.count() == 2
    whole(path)


async def test_a_call_that_is_cancelled_leaves_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    async with Memory(path) as memory:
        for delay in (0.0, 0.001, 0.005, 0.02):
            work = asyncio.create_task(memory.remember_many([f"cat {delay} {n}" for n in range(300)]))
            await asyncio.sleep(delay)
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # it may be done already
                await work
        assert await memory.count() % 300 == 0, "all of a call or nothing"
    whole(path)


FORKED = """
import asyncio, os, sys, warnings
from three_mode.memory import Memory
memory = Memory(sys.argv[1])
asyncio.run(memory.remember("from the parent"))
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    asyncio.run(memory.remember("from the child"))
    os._exit(asyncio.run(memory.count()))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
asyncio.run(memory.remember("from the parent again"))
assert asyncio.run(memory.count()) == 3
asyncio.run(memory.close())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_opens_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    subprocess.run([sys.executable, "-c", FORKED, str(path)], check=True, timeout=60)
    whole(path)
