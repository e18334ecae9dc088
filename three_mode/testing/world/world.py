"""World: a system of agents in one process and on one thread, in virtual time, where everything may fail on demand.

World(seed=7, hosts=3, faults=WorldFaults()).run(main)
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from three_mode.agents.calling.refs import RoleRef
from three_mode.agents.orchestrator import Orchestrator, OrchestratorOptions
from three_mode.cluster import Cluster, NodeTiming
from three_mode.testing.world import seams
from three_mode.testing.world.errors import WorldStuck, invariant_broken, waits
from three_mode.testing.world.faults import WorldFault, WorldFaults
from three_mode.testing.world.links import Delays
from three_mode.testing.world.models import ModelScript, ScriptedModel, WorldScript
from three_mode.testing.world.nats import URL
from three_mode.testing.world.processes import WorldProcess
from three_mode.testing.world.schedule import BEGINNING
from three_mode.testing.world.shrink import Explored, failing, fewest
from three_mode.testing.world.simulation import Simulation
from three_mode.testing.world.trace import TraceEvent
from transports.bus.waiting import until

Main = Callable[["World"], Coroutine[Any, Any, Any]]
Invariant = Callable[[], Any]
_NODE = "node-1"
_JOIN_WITHIN = 30.0  # seconds for all nodes to join
_LOOK = 0.05  # seconds between two looks whether all nodes have joined
_CHECK_EVERY = 0.01  # seconds between two looks at the invariants


class WorldOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a world. Times are in seconds of the world."""

    name: str = "world"
    """Name of the bus, for `join` and `Bus.join`."""
    orchestrator: OrchestratorOptions | None = None
    """Options of the orchestrator."""
    llm: Any = None
    """`ConnectionOptions` of the orchestrator and its agents."""
    policies: Any = None
    """`Policies` of the same."""
    allow: tuple[str, ...] = ()
    """Import paths of classes that may be spawned on other nodes, as of `Cluster`."""
    timing: NodeTiming = NodeTiming()
    """When a node counts as lost, as of `Cluster`."""
    delays: Delays = Delays()
    """How long frames travel."""
    longest: float = 3600.0
    """Seconds after which a program that has not ended is stuck: WorldStuck says what it waits for."""


class World:
    """A world with `hosts` host processes (2), all of whose chance comes from `seed`. `run(main)` runs a program in it.

    `hosts`: as of `Orchestrator`; None: no orchestrator at all, for programs that use the bus alone. `nodes`: machines,
    each with an orchestrator and as many hosts, which are a cluster if there are several (1). `faults`: what
    goes wrong: `WorldFaults` draws it from the seed, a list of faults says it; by default nothing does, and only delays
    and orders come from the seed.
    """

    def __init__(
        self,
        seed: int = 0,
        hosts: int | None = 2,
        nodes: int = 1,
        *,
        faults: WorldFaults | Sequence[WorldFault] = (),
        options: WorldOptions | None = None,
    ) -> None:
        self.seed, self.hosts, self.nodes, self.faults = seed, hosts, nodes, faults
        self.options = options or WorldOptions()
        self.orchestrator: Orchestrator = None  # type: ignore[assignment]  # there while a program runs
        """The orchestrator, while a program runs."""
        self.played: Sequence[WorldFault] = ()
        """The faults of the run that goes on, or was the last."""
        self._invariants: list[Invariant] = []
        self._failed: list[WorldProcess] = []  # programs and nodes that an exception has ended
        self._simulation: Simulation | None = None
        self._begun = 0.0

    def __repr__(self) -> str:
        faults = self.faults if isinstance(self.faults, WorldFaults) else list(self.faults)
        shown = f", faults={faults!r}" if self.faults else ""
        nodes = f", nodes={self.nodes}" if self.nodes > 1 else ""
        return f"World(seed={self.seed}, hosts={self.hosts}{nodes}{shown})"

    # running ----------------------------------------------------------------------------------------------------------
    def run(self, main: Main, *, shrink: bool = True) -> Any:
        """Run `main(world)` to its end, and return its result.

        An exception of it, of an invariant, or a wait without an end is raised with a note that says how to repeat it:
        the seed, and the faults that it takes. `shrink`: whether to run it again with fewer faults, to find these.
        """
        faults = self._faults()
        try:
            return self._play(main, faults)
        except Exception as error:  # noqa: BLE001  # whatever the program raises: it is raised again
            if shrink and faults:
                faults, error = fewest(faults, error, lambda fewer: failing(lambda: self._play(main, fewer)))
                self.played = tuple(faults)
            raise self._noted(error, faults) from error.__cause__

    def explore(self, main: Main, seeds: int = 1000, *, shrink: bool = True) -> Explored:
        """Run `main` with so many seeds, from this world's on; the first that fails is raised as `run` raises it.

        Return what was run, in sum.
        """
        found = Explored()
        for seed in range(self.seed, self.seed + seeds):
            world = World(seed, self.hosts, self.nodes, faults=self.faults, options=self.options)
            world.run(main, shrink=shrink)
            found = found.with_run(world.seconds, world.frames)
        return found

    def _faults(self) -> list[WorldFault]:
        if not isinstance(self.faults, WorldFaults):
            return list(self.faults)
        names = [f"host-{number}" for number in range(1, (self.hosts or 0) + 1)]
        nodes = [f"node-{number}" for number in range(1, self.nodes + 1)]
        hosts = [f"{node}/{name}" for node in nodes for name in names] if self.nodes > 1 else names
        return self.faults.draw(self._simulated().stream("faults"), hosts, nodes)

    def _simulated(self) -> Simulation:
        return Simulation(self.seed, self.options.delays, self.nodes)

    def _play(self, main: Main, faults: Sequence[WorldFault]) -> Any:
        """Run a program with these faults, once."""
        self._invariants, self._failed, self._begun, self.played = [], [], 0.0, tuple(faults)
        self._simulation = world = self._simulated()
        schedule, results = world.schedule, list[Any]()
        with seams.in_force(world):
            process = world.start_process(_NODE, _NODE)
            process.run(lambda: self._program(main, faults, results))
            for number in range(2, self.nodes + 1):
                self._start_node(f"node-{number}")
            last, check_at = BEGINNING + self.options.longest, 0.0
            while process.alive:
                if not schedule.step(last):
                    raise WorldStuck(f"the program has not ended after {last - BEGINNING:g} s:{waits(world)}")
                if self._failed:
                    raise self._failed[0].failure or SystemExit(self._failed[0].exit_code)
                if schedule.now >= check_at and self._invariants:
                    check_at = schedule.now + _CHECK_EVERY
                    self._check_all()
            self._check_all()
            if process.failure is not None:
                raise process.failure
            if process.exit_code:
                raise SystemExit(process.exit_code)
        return results[0] if results else None

    async def _program(self, main: Main, faults: Sequence[WorldFault], results: list[Any]) -> None:
        if self.hosts is None:
            results.append(await self._main(main, faults))
            return
        async with self._orchestrator(_NODE) as self.orchestrator:
            if self.nodes > 1:
                await until(lambda: len(self.orchestrator.nodes()) == self.nodes, _JOIN_WITHIN, _LOOK)
            results.append(await self._main(main, faults))

    def _orchestrator(self, node: str) -> Orchestrator:
        """Return the orchestrator of a node."""
        options, cluster = self.options, None
        if self.nodes > 1:
            cluster = Cluster(URL, name=options.name, node=node, allow=options.allow, timing=options.timing)
        return Orchestrator(
            self.hosts or 0,
            options.name,
            llm=options.llm,
            policies=options.policies,
            cluster=cluster,
            options=options.orchestrator,
        )

    def _start_node(self, node: str) -> None:
        """Start another machine, with an orchestrator that takes the orders of the first."""

        async def body() -> None:
            async with self._orchestrator(node):
                await asyncio.Event().wait()

        self._start(node, node, body)

    def _start(self, label: str, node: str, body: Callable[[], Coroutine[Any, Any, None]]) -> WorldProcess:
        """Start a process whose exceptions end the run."""
        process = self._running.start_process(label, node)
        process.when_ended.append(lambda: self._failed.append(process) if process.failure is not None else None)
        process.run(body)
        return process

    async def _main(self, main: Main, faults: Sequence[WorldFault]) -> Any:
        world = self._running
        self._begun = world.schedule.time()
        for fault in faults:
            world.schedule.at(self._begun + fault.at, fault.happen, world)
        return await main(self)

    def _check_all(self) -> None:
        for invariant in self._invariants:
            if invariant() is False:
                raise invariant_broken(invariant)

    def _noted(self, error: Exception, faults: Sequence[WorldFault]) -> Exception:
        again = World(self.seed, self.hosts, self.nodes, faults=list(faults), options=self.options)
        error.add_note(f"seed {self.seed}; to repeat it: {again!r}.run(main)")
        return error

    # what a program asks of its world ---------------------------------------------------------------------------------
    def check(self, invariant: Invariant) -> None:
        """Call a function again and again while the program runs, and at its end: it raises, or returns False, where
        something is so that must never be."""
        self._invariants.append(invariant)

    def start(self, program: Callable[["World"], Awaitable[Any]], name: str) -> WorldProcess:
        """Start another process, which runs `program(world)` and may `join` the bus. `name` is its name in faults."""

        async def body() -> None:
            await program(self)

        return self._start(name, _NODE, body)

    def happen(self, fault: WorldFault) -> None:
        """Have a fault happen now, or its seconds `at` from now."""
        world = self._running
        world.schedule.after(fault.at, fault.happen, world)

    async def model(self, name: str, script: ModelScript, *, seconds: float = 0.5) -> RoleRef:
        """Put a model on the bus that answers as a script says, as `agent:NAME`; `seconds` are what an answer takes."""
        scripts = self._running.scripts
        scripts.append(WorldScript(script, seconds))
        await self.orchestrator.spawn(ScriptedModel, 1, name=name, restart="permanent", script=len(scripts) - 1)
        return self.orchestrator.any(name)

    @property
    def _running(self) -> Simulation:
        if self._simulation is None:
            raise RuntimeError("nothing runs in this world: World(...).run(main) runs a program in it")
        return self._simulation

    # what happened ----------------------------------------------------------------------------------------------------
    @property
    def now(self) -> float:
        """Seconds since the program began."""
        return self._running.schedule.time() - self._begun

    @property
    def digest(self) -> str:
        """Digest of all that happened, to the byte: the same whenever the same seed runs the same code."""
        return self._running.trace.digest

    @property
    def trace(self) -> list[TraceEvent]:
        """The last things that happened, the oldest first."""
        return [event._replace(when=event.when - BEGINNING) for event in self._running.trace.events]

    @property
    def frames(self) -> int:
        """Frames that came to where they were sent."""
        return self._running.trace.frames

    @property
    def seconds(self) -> float:
        """Seconds that passed in the world."""
        return self._running.schedule.now - BEGINNING
