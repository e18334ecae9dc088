"""A child process whose input stays open: what is written arrives, and nobody waits for one that reads nothing."""

import asyncio
import sys

import pytest

from transports.process import ChildFailed, ChildLines, ChildOptions

ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"
SOON = 20.0


def child(code: str) -> ChildLines:
    return ChildLines([sys.executable, "-I", "-S", "-c", code], None, ChildOptions(grace=0.5))


async def test_lines_go_and_come() -> None:
    async with asyncio.timeout(SOON), child(ECHO) as program:
        for word in (b"abc", b"x" * 100_000):
            await program.write(word + b"\n")
            assert await anext(program) == word[::-1]


async def test_the_end_of_its_input_ends_the_program_without_a_signal() -> None:
    program = child(ECHO + "\nprint('bye')")
    await program.start()
    await program.write(b"abc\n")
    assert await anext(program) == b"cba"
    await program.aclose()
    assert program.status == 0


async def test_a_program_that_reads_nothing_takes_no_more_than_its_pipe() -> None:
    async with asyncio.timeout(SOON), child("import time; time.sleep(60)") as program:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await program.write(b"x" * (1 << 20))
        assert not program.try_write(b"y")
    assert program.status is not None


async def test_a_program_that_has_ended_takes_nothing() -> None:
    async with asyncio.timeout(SOON), child("") as program:
        with pytest.raises(StopAsyncIteration):
            await anext(program)
        await program.wait()

        async def write_on() -> None:
            for _ in range(100):
                await program.write(b"x" * 1000)
                await asyncio.sleep(0.01)

        with pytest.raises(ChildFailed, match="takes no input any more"):
            await write_on()


async def test_before_it_starts_and_after_its_end_nothing_is_written() -> None:
    program = child(ECHO)
    assert not program.try_write(b"x")
    async with program:
        pass
    with pytest.raises(ChildFailed):
        await program.write(b"x")
