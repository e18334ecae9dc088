"""A disk that is full ends recordings and records, and nothing else."""

import asyncio
import errno
import logging
import os
import resource
from pathlib import Path

import pytest

from tests.support.providers.servers import connected, hello
from three_mode import Agent, Orchestrator, handler
from three_mode.agents import OrchestratorOptions, replay
from three_mode.agents.recording import recorder
from three_mode.agents.recording.events import HEAD, MAGIC, Ended, Got, RecordingEnd, pack, pack_end, unpack, unpack_end
from three_mode.agents.recording.recorder import Recorder
from three_mode.agents.recording.replay import load
from three_mode.connection import Observing
from three_mode.errors import ConfigurationError
from three_mode.observe import CallFigures, RecordOptions, RecordWriter

WHY = (os.strerror(errno.EFBIG), "only a part of a record could be written")


class Dice(Agent):
    """Rolls, and can have its process write no file beyond a size, which is like a full disk."""

    @handler
    def roll(self) -> int:
        return self.random.randint(1, 6)

    @handler
    def fill(self, size: int, tester: int) -> None:
        if os.getpid() != tester:  # a replay runs in the test's own process
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    @handler
    async def roll_another(self, name: str) -> int:
        return int(await self.ref(name).ask(Dice.roll))


async def test_the_run_goes_on_and_the_recording_says_where_it_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.rec"
    async with Orchestrator(hosts=2, options=OrchestratorOptions(record=str(path), seed=7)) as orc:
        dice = await orc.spawn(Dice, 4, name="dice")
        for one in dice:
            await one.ask(Dice.roll)
        await dice[0].ask(Dice.fill, path.stat().st_size + 700, os.getpid())
        for _ in range(50):
            for one in dice:
                assert 1 <= await one.ask(Dice.roll) <= 6
            assert 1 <= await dice[0].ask(Dice.roll_another, "dice/1") <= 6
        size = path.stat().st_size
        for one in dice:
            await one.ask(Dice.roll)
        assert path.stat().st_size == size, "no process of the run records on"
    said = [record for record in caplog.records if "ends here, and the run goes on" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.ERROR] * 2, "each host says it once"
    assert all(any(why in record.getMessage() for why in WHY) for record in said)
    data = path.read_bytes()
    end = unpack_end(data)
    assert end is not None
    assert end.at <= len(data)
    replayed = await asyncio.to_thread(replay, path)  # where no loop runs
    assert replayed.cut_off is not None
    assert any(why in replayed.cut_off for why in WHY)
    assert replayed.divergence is None
    assert replayed.messages >= 8


def test_a_record_that_was_written_in_part_is_no_part_of_the_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.rec"
    recorder.begin(str(path))
    one, other = Recorder(str(path)), Recorder(str(path))
    one.ended("a", 1, "result", b"x" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
    try:
        one.ended("a", 2, "result", b"y" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    other.ended("a", 3, "result", b"z" * 100)
    one.ended("a", 4, "result", b"z" * 100)
    for each in (one, other):
        each.close()
    assert [event.turn for event in load(path)] == [1]
    assert path.stat().st_size == len(HEAD) + len(pack(load(path)[0])) + 50
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_a_recording_of_the_first_version_is_read(tmp_path: Path) -> None:
    event = Got("a", 1.0, 1, "roll", b"", False, False, "")
    (tmp_path / "old").write_bytes(b"three-mode recording 1\n" + pack(event))
    assert load(tmp_path / "old") == [event]


def test_the_slot_of_the_end_is_bounded_and_checked() -> None:
    event = Ended("a", 1.0, 1, "result", b"")
    long = pack_end(RecordingEnd(1.0, len(HEAD) + len(pack(event)), "why " * 1000))
    assert len(long) < len(HEAD) - len(MAGIC)
    data = MAGIC + long.ljust(len(HEAD) - len(MAGIC), b"\0")
    assert list(unpack(data + pack(event) + b"rest")) == [event]
    for bad in (MAGIC, HEAD[:-1], MAGIC + b"\xff" * 232):
        with pytest.raises(ValueError, match=r"recording|end cannot"):
            list(unpack(bad))


async def test_records_of_a_connection_that_cannot_be_written_harm_no_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    observe = Observing(records=RecordOptions(path="/dev/full", flush=0.01))
    async with connected(observe=observe, max_retries=0) as (llm, _):
        for _ in range(5):
            assert (await llm.chat_completion(hello())).content == "Hello world!"
        await llm.close()
        writer = llm._services.log.recorder
        assert writer is not None
        assert (writer.written, writer.dropped) == (0, 5)
    failed = [record for record in caplog.records if record.message == "records_failed"]
    assert [record.levelno for record in failed] == [logging.ERROR], "said once"


def test_records_go_on_once_there_is_room_again_and_every_line_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "records"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    request = hello()
    figures = CallFigures(request_id="id", provider="openai", model="m", latency=1.0, first_content=None)
    for limited in (False, True, False):
        writer = RecordWriter(RecordOptions(path=path))
        if limited:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 30, hard))
        try:
            writer.record(figures, request, error=ConfigurationError("no"))
            writer.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    whole = [
        line for line in path.read_bytes().split(b"\n") if line.startswith(b'{"request_id"') and line.endswith(b"}")
    ]
    assert len(whole) == 2
    assert len([record for record in caplog.records if record.message == "records_failed"]) == 1


def test_a_recording_that_cannot_be_begun_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "run.rec"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (0, 10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(ConfigurationError, match="cannot be begun"):
                recorder.begin(str(path))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not path.exists()
    recorder.begin(str(path))
    assert load(path) == []
