"""A process that keeps one state after the other, and is killed: `python -m ... FILE STEP`.

It says each number once its keep has returned. STEP: it kills itself at this step of its third keep: `begin`, `update`,
`commit` or `returned`; `never`: others kill it.
"""

import asyncio
import os
import signal
import sys
from functools import partial

from three_mode.agents.keeping.file_store import FileStore
from three_mode.agents.keeping.keeper import Keeper
from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import KeepClaim, KeepWrite, KeptState

AGENT = "writer/0"
SIZE = 3000
_STATEMENTS = {"begin": "BEGIN IMMEDIATE", "update": "UPDATE", "commit": "COMMIT"}


def state_of(number: int) -> bytes:
    """Return the state of a number: it is torn where one part is of another number."""
    return number.to_bytes(4) * SIZE


def number_in(snapshot: KeptState | None) -> int:
    """Return the number of a state, which is whole."""
    if snapshot is None:
        return 0
    number = int.from_bytes(snapshot.state[:4])
    assert snapshot.whole
    assert snapshot.state == state_of(number)
    return number


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_self_at(statement: str, sql: str) -> None:
    if sql.startswith(statement):
        kill_self()


def say(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


async def main(path: str, step: str) -> None:
    store = FileStore(KeepOptions(path))
    keeper = Keeper(1 << 20, lambda: store)
    incarnation = str(os.getpid())
    number = number_in(await keeper.claim(KeepClaim(AGENT, incarnation)))
    say("claimed", number)
    for turn in range(1, 1_000_000):
        number += 1
        if turn == 3 and step in _STATEMENTS:
            assert store._file is not None
            store._file._file.set_trace_callback(partial(kill_self_at, _STATEMENTS[step]))
        await keeper.keep(KeepWrite(AGENT, incarnation, KeptState.of(1, state_of(number))))
        if turn == 3 and step == "returned":
            kill_self()
        say("kept", number)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
