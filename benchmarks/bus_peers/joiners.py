"""Processes that join a bus at the same moment: `python -m benchmarks.bus_peers.joiners BUS BOARD_FD GATE_FD COUNT`.

COUNT processes are forked once everything is imported, stamp that they are up, and wait at a gate, so that the
benchmark measures joining and not starting Python. Each process stamps when it is up, when it has joined and when it
has subscribed.
"""

import asyncio
import ctypes  # noqa: F401  # before the fork, like the carrier
import gc
import os
import sys

import uvloop

import transports.bus.rings.carrier  # noqa: F401
from benchmarks.bus_peers.board import Board
from benchmarks.bus_peers.readers import TOPIC, _end_with_parent
from transports.bus import Bus, BusOptions

UP, JOINED, SUBSCRIBED = range(3)
_WITHIN = 100.0  # seconds: long enough to measure a slow join


async def join(bus: str, board: Board, number: int, count: int) -> None:
    """Joins and subscribes; stamps both."""
    member = await Bus.join(bus, BusOptions(join_within=_WITHIN, create=False))
    board.stamp(JOINED * count + number)
    await member.subscribe(TOPIC, lambda message: None)
    board.stamp(SUBSCRIBED * count + number)
    await asyncio.Event().wait()


def main() -> None:
    """Forks the processes and waits for them."""
    bus, board_fd, gate, count = sys.argv[1], *map(int, sys.argv[2:])
    gc.freeze()  # a collection in a child would copy the pages that it shares
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            _end_with_parent()
            board = Board(3 * count, board_fd)
            board.stamp(UP * count + number)
            os.read(gate, 1)  # until the other end is closed
            uvloop.run(join(bus, board, number, count))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
