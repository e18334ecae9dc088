"""A ring that is handed over twice: the registry died between its hand-over and its answer, and the next one was asked
for the same."""

import os

import pytest

from tests.support.bus.members import eventually, members
from transports.bus import Bus, Request
from transports.bus.rings.peer import OutLink


def link_to(bus: Bus, member: str) -> OutLink:
    link: OutLink = bus._carrier._peers[member].link  # type: ignore[attr-defined]
    return link


async def hand_over_again(bus: Bus, to: str) -> None:
    """Ask the registry once more to hand over the ring, as `link` does where the one before did not answer."""
    link = link_to(bus, to)
    for fd in await bus._carrier._membership.link(to, link.uid, link.fd):  # type: ignore[attr-defined]
        os.close(fd)


@pytest.mark.parametrize("size", [10, 200_000], ids=["small", "large"])
async def test_what_was_read_is_not_read_again(size: int) -> None:
    async with members() as group:
        writer, reader = await group.join(), await group.join()
        got: list[int] = []

        def note(request: Request) -> None:
            got.append(request.payload["n"])

        await reader.register("reader", note)
        for n in range(3):
            await writer.send("reader", {"n": n, "data": bytes(size)})
        await eventually(lambda: got == [0, 1, 2])
        files = len(os.listdir("/proc/self/fd"))
        for n in range(3, 6):
            await hand_over_again(writer, reader.id)
            await writer.send("reader", {"n": n, "data": bytes(size)})
            await eventually(lambda last=n: bool(got) and got[-1] == last)  # type: ignore[misc]
        assert got == [0, 1, 2, 3, 4, 5]
        assert len(os.listdir("/proc/self/fd")) == files
