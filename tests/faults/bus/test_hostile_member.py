"""What a member can do to others through the memory and the doorbells that they share with it: be dropped, by name."""

import contextlib
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.bus.hostile import ATTACKS
from tests.support.bus.members import eventually, members
from transports.bus import Gap, PeerLost, RemoteError, SubscribeOptions
from transports.bus.rings.carrier import RingsCarrier


@pytest.mark.parametrize("attack", [attack.__name__ for attack in ATTACKS])
def test_withstands(attack: str) -> None:
    """In a process of its own, which must neither crash nor hang."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.bus.hostile", attack],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"ended by {done.returncode}\n{done.stderr[-2000:]}"


async def test_a_doorbell_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe as doorbell: neither side of a pair with that member takes it, and everybody else is heard."""
    ours, theirs = os.pipe()
    honest = RingsCarrier.hello_fds

    def lies(self: RingsCarrier) -> list[int]:
        page, _, pidfd = honest(self)
        return [page, theirs, pidfd]

    async with members(carrier="rings") as group:
        a, c = await group.join(), await group.join()
        with monkeypatch.context() as lying:
            lying.setattr(RingsCarrier, "hello_fds", lies)
            liar = await group.join()
        for bus, name in ((a, "x"), (liar, "lies")):
            await bus.register(name, lambda request: request.reply(request.payload))
        for bus, name in ((a, "lies"), (liar, "x"), (c, "x")):
            await bus.wait_for(name)
        with pytest.raises(PeerLost, match=f"{liar.id} cannot be reached: a doorbell that is no eventfd"):
            await a.ask("lies", 1, within=5)
        liar.send("x", 1)
        await eventually(lambda: any("no eventfd" in str(error) for _, error in group.errors))
        assert (await c.ask("x", 2, within=5)).payload == 2
    os.close(ours)
    os.close(theirs)


async def test_a_payload_above_the_limit_of_its_reader_is_a_gap() -> None:
    """Nothing is fetched for it, and no memory asked for; its writer gets the segment back."""
    async with members(carrier="rings") as group:
        a, b = await group.join(), await group.join(payload_limit=100_000)
        seen: list[int] = []
        gaps: list[Any] = []
        for topic in ("t", "u"):
            options = SubscribeOptions(on_event=gaps.append) if topic == "t" else SubscribeOptions()
            await b.subscribe(topic, lambda message: seen.append(len(message.payload)), options)
        await b.register("x", lambda request: request.reply(len(request.payload)))
        await a.wait_for("x")
        for size in (90_000, 110_000, 95_000):
            await a.publish("t", bytes(size)).settled(within=5)
        await eventually(lambda: seen == [90_000, 95_000])
        assert gaps == [Gap(a.id, 2, 2, 1)]
        where, error = group.errors[-1]
        assert a.id in where
        assert "110000 bytes: the limit is 100000" in str(error)
        for size, answered in ((90_000, True), (110_000, False), (95_000, True)):
            refused = pytest.raises(RemoteError, match=r"payload_lost.*the limit is 100000")
            with contextlib.nullcontext() if answered else refused:
                assert (await a.ask("x", bytes(size), within=5)).payload == size
