"""Seams: where the runtime meets the machine, and what stands there while a world runs. All else is the real code."""

import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from three_mode.agents.wire.importing import path_here
from three_mode.testing.world import clocks, here, host_processes, nats, registry, sockets, threads
from three_mode.testing.world.simulation import Simulation
from transports.bus.carrier import Carrier, Sink
from transports.bus.options import BusOptions
from transports.bus.zeromq.carrier import ZmqCarrier

_OURS = ("three_mode", "transports")


def _choose(name: str, options: BusOptions, label: str, sink: Sink) -> tuple[Carrier, str]:
    """Make the carrier of a bus: that of ZeroMQ, whose sockets are those of the world."""
    return ZmqCarrier(name, replace(options, label=label, endpoint="", curve=None), sink), "it is in a world"


def _directory() -> Path:
    return Path("/world")


def _remove_no_socket(path: Path) -> None:
    """Do nothing: no file is left of a socket of the world."""


SEAMS: tuple[tuple[str, str, Any], ...] = (
    ("transports.bus.bus", "choose", _choose),
    ("transports.bus.zeromq.carrier", "Sockets", sockets.WorldSockets),
    ("transports.bus.zeromq.carrier", "runtime_directory", _directory),
    ("transports.bus.zeromq.carrier", "remove_if_dead", _remove_no_socket),
    ("transports.bus.registry.connector", "RegistryPaths", registry.WorldPaths),
    ("transports.bus.registry.connector", "RegistryServer", registry.WorldRegistry),
    ("transports.bus.registry.connector", "try_host", registry.try_host),
    ("transports.bus.registry.connector", "leave_place", registry.leave_place),
    ("transports.bus.registry.election", "try_connect", registry.try_connect),
    ("transports.bus.registry.election", "try_host", registry.try_host),
    ("transports.bus.registry.server", "Places", registry.WorldPlaces),
    ("transports.bus.registry.lateness", "process_state", registry.process_state),
    ("three_mode.agents.supervisor.hosts", "HostProcess", host_processes.WorldHostProcess),
    ("three_mode.agents.host.process", "Watchdog", host_processes.WorldWatchdog),
    ("three_mode.agents.host.process", "LogForwarder", host_processes.NoForwarder),
    ("three_mode.agents.host.process", "end_forked_children", host_processes.no_guard),
    ("three_mode.agents.host.process", "gc", host_processes.NoFreezing),
    ("three_mode.cluster.gateway", "NatsConnection", nats.WorldNats),
    ("three_mode.tools.threads", "ToolThreads.run", threads.run_tool),
    ("three_mode.file_thread", "FileThread._put", threads.put_file_work),
    ("three_mode.agents.orchestrator", "path_of", path_here),
    ("three_mode.agents.supervisor.node_home", "path_of", path_here),
)
"""Module, name there, and what stands in its place."""

_found: list[tuple[Any, str, Any]] = []  # places that keep a clock by its name, in modules that are loaded


def _kept_clocks() -> list[tuple[Any, str, Any]]:
    """Return where modules of the runtime keep a clock of `time` by a name of their own."""
    if not _found:
        fakes: dict[Callable[..., Any], Any] = {getattr(module, name): fake for module, name, fake in clocks.REPLACED}
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] in _OURS and not name.startswith("three_mode.testing.world"):
                for attribute, value in list(vars(module).items()):
                    if callable(value) and type(value).__name__ == "builtin_function_or_method" and value in fakes:
                        _found.append((module, attribute, fakes[value]))
    return _found


def _place(module: str, name: str, stand_in: Any) -> tuple[Any, str, Any]:
    """Return what has an attribute, its name, and what is to stand there."""
    owner: Any = import_module(module)
    *parents, name = name.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name, stand_in


@contextmanager
def in_force(world: Simulation) -> Iterator[None]:
    """Have the world stand in place of the machine, for this thread, until the block ends."""
    places = [_place(module, name, stand_in) for module, name, stand_in in SEAMS]
    places += [*_kept_clocks(), *clocks.REPLACED]
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    state, hooks, collects = random.getstate(), sys.get_asyncgen_hooks(), gc.isenabled()
    here.enter(world)
    try:
        gc.disable()  # what is collected runs code, at a moment that no seed knows
        random.seed(world.seed)
        for module, name, stand_in in places:
            setattr(module, name, stand_in)
        try:
            yield
        finally:
            world.bury()
    finally:
        for module, name, value in before:
            setattr(module, name, value)
        here.leave()
        random.setstate(state)
        sys.set_asyncgen_hooks(*hooks)
        if collects:
            gc.enable()
