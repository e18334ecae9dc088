"""Faults of what agents keep: kills at each step, full disks, files that are damaged, of others, or read-only."""

import asyncio
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.agents.keep_cast import Counter, options
from tests.support.agents.keep_writer import AGENT, number_in
from tests.support.agents.supervision import kill
from three_mode import Orchestrator
from three_mode.agents.keeping.file import SnapshotFile
from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import KeepClaim, KeepWrite, KeptState, rank_of
from three_mode.errors import ConfigurationError, StateNotKept, ThreeModeError

ROOT = Path(__file__).resolve().parents[3]
SLOW = 120.0


async def said_by_writer(path: Path, step: str, after: float = 0.0) -> list[int]:
    """Run a writer until it is killed, by itself or after some seconds of writing; return the numbers that it said."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.agents.keep_writer", str(path), step), cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        first = await asyncio.wait_for(child.stdout.readline(), SLOW)
        if step == "never":
            await asyncio.sleep(after)
            child.kill()
        rest = await asyncio.wait_for(child.stdout.read(), SLOW)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    return [int(line.split()[1]) for line in (first + rest).splitlines() if line.count(b" ") == 1]


def kept_in(path: Path) -> int:
    """Return the number of the last state in a file, which is whole."""
    file = SnapshotFile(KeepOptions(str(path)))
    try:
        return number_in(file.claim([KeepClaim(AGENT, "reader")]).found.get(AGENT))
    finally:
        file.close()


@pytest.mark.parametrize(("step", "least"), [("begin", 2), ("update", 2), ("commit", 2), ("returned", 3)])
async def test_a_kill_at_each_step_of_a_keep_leaves_the_last_one_that_returned(
    step: str, least: int, tmp_path: Path
) -> None:
    path = tmp_path / "state.sqlite"
    assert await said_by_writer(path, step) == [0, 1, 2]
    assert kept_in(path) == least


async def kill_often(path: Path, times: int, seed: int) -> None:
    chance, written = random.Random(seed), 0
    for _ in range(times):
        said = await said_by_writer(path, "never", chance.uniform(0.0, 0.1))
        found = kept_in(path)
        assert said[0] == written, "what was there at the end of the one before"
        assert said[-1] <= found <= said[-1] + 1, "the last whose keep returned, or the one under way"
        written = found


@pytest.mark.timeout(300)
async def test_10_kills_at_any_moment(tmp_path: Path) -> None:
    await kill_often(tmp_path / "state.sqlite", 10, 1)


@pytest.mark.timeout(3600)
@pytest.mark.soak
async def test_200_kills_at_any_moment(tmp_path: Path) -> None:
    await kill_often(tmp_path / "state.sqlite", 200, 2)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("where", ["memory", "file"])
async def test_hosts_that_are_killed_while_agents_keep_lose_nothing_that_was_answered(
    where: str, tmp_path: Path
) -> None:
    keep = str(tmp_path / "state.sqlite") if where == "file" else ""
    chance, answered, begun = random.Random(3), 0, 0
    async with Orchestrator(hosts=1, options=options(keep)) as orc:
        counter = await orc.spawn(Counter, name="counter")

        async def add() -> None:
            nonlocal answered, begun
            try:
                while True:
                    begun += 1
                    answered = await counter.ask(Counter.add, 1)
            except ThreeModeError:
                pass  # PeerLost: nobody knows whether it was done

        for _ in range(3):
            work = asyncio.create_task(add())
            await asyncio.sleep(chance.uniform(0.0, 0.2))
            await kill(orc)
            await work
            await orc.bus.wait_for(["counter/0"], within=SLOW)
            found = await counter.ask(Counter.count)
            assert answered <= found <= begun
            answered = begun = found


def write(file: SnapshotFile, number: int, size: int) -> None:
    assert file.write([KeepWrite(AGENT, "one", KeptState.of(1, number.to_bytes(4) * size))]) == {}


def test_a_full_disk_is_an_error_and_the_last_state_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    file = SnapshotFile(KeepOptions(str(path)))
    file.claim([KeepClaim(AGENT, "one")])
    write(file, 1, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, hard))
    try:
        with pytest.raises(StateNotKept, match=r"state\.sqlite cannot be read or written: .*is the disk full\?"):
            write(file, 2, 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.claim([KeepClaim(AGENT, "one")]).found[AGENT].state == (1).to_bytes(4) * 100
    write(file, 3, 100_000)
    file.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a MiB, where one can be mounted."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def test_agents_that_keep_on_a_full_disk_get_the_error_and_live_on(small_disk: Path) -> None:
    async with Orchestrator(hosts=0, options=options(str(small_disk / "state.sqlite"))) as orc:
        counter = await orc.spawn(Counter, name="counter")
        assert await counter.ask(Counter.keep_many, 1) == 1
        with pytest.raises(StateNotKept, match=r"counter/0: state\.sqlite cannot be read or written"):
            await counter.ask(Counter.grow, 900_000)
        assert await counter.ask(Counter.keep_many, 1) == 2
        await orc.restart(counter)
        assert await counter.ask(Counter.count) == 2


async def spawned(path: Path) -> int:
    async with Orchestrator(hosts=0, options=options(str(path))) as orc:
        counter = await orc.spawn(Counter, name="counter")
        return int(await counter.ask(Counter.add, 1))


async def test_a_file_that_is_none_of_ours_ends_the_start_and_stays_as_it_is(tmp_path: Path) -> None:
    rubbish, other, newer = tmp_path / "rubbish", tmp_path / "other", tmp_path / "newer"
    rubbish.write_bytes(b"no database" * 1000)
    with closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE mine (a)")
    assert await spawned(newer) == 1
    with closing(sqlite3.connect(newer)) as file:
        file.execute("PRAGMA user_version = 9")
    for path, why in (
        (rubbish, "rubbish is no file of snapshots, or it is damaged"),
        (other, "other is a file of another program"),
        (newer, "newer was written by a newer version: its schema is 9"),
        (tmp_path / "no" / "state", "cannot be used: .*No such file"),
    ):
        before = path.read_bytes() if path.exists() else b""
        with pytest.raises(ConfigurationError, match=why):
            await spawned(path)
        assert (path.read_bytes() if path.exists() else b"") == before


async def test_a_damaged_state_ends_the_spawn_with_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    assert await spawned(path) == 1
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        (state,) = file.execute("SELECT state FROM place").fetchone()
        file.execute("UPDATE place SET state = ?", (bytes([*state[:-1], state[-1] ^ 1]),))
    with pytest.raises(StateNotKept, match="counter/0: what was kept is damaged: its checksum is another"):
        await spawned(path)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)  # every page behind the first
    path.write_bytes(data)
    with pytest.raises(ThreeModeError, match=r"state\.sqlite"):
        await spawned(path)


_AS_NOBODY = """
import os, sys
from three_mode.agents.keeping.file import SnapshotFile
from three_mode.agents.keeping.options import KeepOptions
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
try:
    SnapshotFile(KeepOptions(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_read_only_file_ends_the_start() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite"
        SnapshotFile(KeepOptions(str(path))).close()
        path.chmod(0o444)
        Path(folder).chmod(0o755)
        said = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SLOW,
            check=True,
        )
    assert "ConfigurationError the file of snapshots state.sqlite cannot be used: " in said.stdout
    assert "Permission denied" in said.stdout


def test_an_earlier_incarnation_is_told_so_and_overwrites_nothing(tmp_path: Path) -> None:
    file, other = (SnapshotFile(KeepOptions(str(tmp_path / "state.sqlite"))) for _ in range(2))
    file.claim([KeepClaim(AGENT, "one")])
    write(file, 1, 10)
    assert other.claim([KeepClaim(AGENT, "two")]).found[AGENT].state == (1).to_bytes(4) * 10
    late = [KeepWrite(AGENT, "one", KeptState.of(1, b"late"))]
    assert file.write(late) == {AGENT: f"a later incarnation of {AGENT} has begun, and this one keeps nothing any more"}
    assert other.claim([KeepClaim(AGENT, "three")]).found[AGENT].state == (1).to_bytes(4) * 10
    other.remove([AGENT])
    assert file.write(late) == {AGENT: f"{AGENT} was stopped for good, and what it kept was removed"}
    assert other.claim([KeepClaim(AGENT, "four", rank_of(2, "a"))]).found == {}
    assert "a later incarnation" in other.claim([KeepClaim(AGENT, "five", rank_of(1, "b"))]).refused[AGENT]
    assert file.write([KeepWrite(AGENT, "four", KeptState.of(1, b"still mine"))]) == {}
    file.close()
    other.close()


def test_a_file_that_another_process_holds_is_an_error_after_the_time_that_it_may_take(tmp_path: Path) -> None:
    path = str(tmp_path / "state.sqlite")
    file = SnapshotFile(KeepOptions(path, within=0.1))
    file.claim([KeepClaim(AGENT, "one")])
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateNotKept, match=r"another process wrote to state\.sqlite for more than 0\.1 s") as busy:
            write(file, 1, 10)
        assert busy.value.retryable
        holder.execute("ROLLBACK")
    write(file, 1, 10)
    file.close()
