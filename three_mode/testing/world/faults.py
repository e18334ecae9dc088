"""Faults of a world: each a value that says what happens when, so that a run can be repeated with fewer of them."""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from three_mode.testing.world.simulation import Simulation

_KILLED = -9


class WorldFault(msgspec.Struct, frozen=True):
    """One fault."""

    at: float
    """Seconds from the beginning of the program until it happens."""

    def happen(self, world: "Simulation") -> None:
        """Do it."""
        raise NotImplementedError


class KillProcess(WorldFault, frozen=True):
    """A process is killed: `host-1`, `node-2/host-1` in a world of several nodes, or a program that was started."""

    process: str
    """Its name."""

    def happen(self, world: "Simulation") -> None:
        process = world.process(self.process)
        if process is not None:
            process.end(_KILLED)


class StopProcess(WorldFault, frozen=True):
    """A process stands still for some seconds, as one that the machine does not give time to."""

    process: str
    """Its name."""
    seconds: float
    """How long it stands still."""

    def happen(self, world: "Simulation") -> None:
        process = world.process(self.process)
        if process is not None:
            world.note(self.process, f"stands still for {self.seconds:g} s")
            process.stop(world.schedule.now + self.seconds)


class SlowLinks(WorldFault, frozen=True):
    """All frames travel `factor` times as long for some seconds."""

    seconds: float
    """How long that lasts."""
    factor: float
    """How many times as long frames travel."""

    def happen(self, world: "Simulation") -> None:
        world.note("links", f"slower by {self.factor:g} for {self.seconds:g} s")
        world.weather.slower *= self.factor
        world.schedule.after(self.seconds, self._over, world)

    def _over(self, world: "Simulation") -> None:
        world.weather.slower /= self.factor


class LoseFrames(WorldFault, frozen=True):
    """For some seconds, a share of the frames is lost that may be lost: broadcasts between processes, and all between
    nodes. The bus repairs the one and reports the other."""

    seconds: float
    """How long that lasts."""
    share: float
    """Share of the frames, from 0 to 1."""

    def happen(self, world: "Simulation") -> None:
        world.note("links", f"lose {self.share:g} for {self.seconds:g} s")
        world.weather.lost += self.share
        world.schedule.after(self.seconds, self._over, world)

    def _over(self, world: "Simulation") -> None:
        world.weather.lost = max(0.0, world.weather.lost - self.share)


class PartNodes(WorldFault, frozen=True):
    """Two nodes do not hear each other for some seconds."""

    one: str
    """Name of a node."""
    other: str
    """Name of the other one."""
    seconds: float
    """How long that lasts."""

    def happen(self, world: "Simulation") -> None:
        world.note(f"{self.one} | {self.other}", f"parted for {self.seconds:g} s")
        world.weather.cut[frozenset((self.one, self.other))] = world.schedule.now + self.seconds


class WorldFaults(msgspec.Struct, frozen=True, kw_only=True):
    """How many faults a world draws from its seed, and when. Each number is the most of its kind."""

    kills: int = 2
    """Hosts that are killed."""
    stops: int = 1
    """Hosts that stand still."""
    slow: int = 1
    """Times in which all links are slow."""
    lossy: int = 1
    """Times in which frames are lost that may be lost."""
    parts: int = 1
    """Partitions between two nodes, in a world of several."""
    also: tuple[str, ...] = ()
    """Programs that may be killed, or stand still, besides the hosts: those that `World.start` starts."""
    within: float = 2.0
    """Seconds from the beginning of the program in which faults begin."""
    longest: float = 1.0
    """Seconds that one lasts, at most."""

    def draw(self, random: Random, hosts: Sequence[str], nodes: Sequence[str] = ()) -> list[WorldFault]:
        """Return the faults of one run, in their order."""

        def at() -> float:
            return round(random.uniform(0.0, self.within), 6)

        def seconds() -> float:
            return round(random.uniform(0.0, self.longest), 6)

        def times(most: int) -> range:
            return range(random.randint(0, most))

        found: list[WorldFault] = []
        victims = [*hosts, *self.also]
        if victims:
            found += [KillProcess(at(), random.choice(victims)) for _ in times(self.kills)]
            found += [StopProcess(at(), random.choice(victims), seconds()) for _ in times(self.stops)]
        found += [SlowLinks(at(), seconds(), round(random.uniform(2.0, 50.0), 3)) for _ in times(self.slow)]
        found += [LoseFrames(at(), seconds(), round(random.uniform(0.01, 0.5), 3)) for _ in times(self.lossy)]
        if len(nodes) > 1:
            for _ in times(self.parts):
                one, other = random.sample(nodes, 2)
                found.append(PartNodes(at(), one, other, seconds()))
        return sorted(found, key=lambda fault: fault.at)
