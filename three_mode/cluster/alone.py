"""Alone: what a node does with agents that another one has placed, once that one is lost: keep, pause or stop them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from three_mode.agents.supervisor.events import HomeBack, HomeLost
from three_mode.cluster.core.actions import PeerChanged
from three_mode.cluster.home import NodeHome
from three_mode.errors import ThreeModeError

log = logging.getLogger("three_mode.cluster")
_WITHIN = 10.0


class Alone:
    """The choice of one node. `placed` are the agents here with their homes; `gone(agents)` has their homes told that
    they wait to be placed again. While a node may take over from a home, they go on for `patience` seconds."""

    def __init__(
        self,
        choice: str,
        home: NodeHome,
        placed: Mapping[str, tuple[str, int]],
        gone: Callable[[Iterable[str]], None],
        may_be_taken_over: Callable[[str], bool],
        patience: float,
    ) -> None:
        self._may_be_taken_over, self._patience = may_be_taken_over, patience
        self._choice, self._home, self._placed, self._gone = choice, home, placed, gone
        self._lost: set[str] = set()
        self._paused: dict[str, set[str]] = {}  # home -> agents that were paused when it was lost
        self._paused_by_order: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def close(self) -> None:
        """Do nothing more."""
        for task in self._tasks:
            task.cancel()

    def ordered(self, verb: str, names: Iterable[str]) -> None:
        """Note an order: agents that a home has paused stay so when it is back."""
        if verb == "pause":
            self._paused_by_order.update(names)
        else:
            self._paused_by_order.difference_update(names)

    def made(self, node: str, names: list[str]) -> None:
        """Note that agents have begun here, whose home may have been lost while they were made."""
        if node in self._lost and names and self._choice == "pause":
            self._start(self._order("pause", names))

    def peer_changed(self, change: PeerChanged) -> None:
        """Note that another node was lost or left, or is back."""
        node = change.node
        if change.state in ("lost", "left"):
            names = [name for name, (home, _) in self._placed.items() if home == node]
            if names:
                self._lost.add(node)
                self._home.happened(HomeLost(change.name, len(names), self._choice))
                if self._choice != "keep":
                    self._start(self._give_up(node, change.state == "lost" and self._may_be_taken_over(node)))
        elif change.state in ("back", "joined") and node in self._lost:
            self._lost.discard(node)
            names = [name for name, (home, _) in self._placed.items() if home == node]
            self._home.happened(HomeBack(change.name, len(names)))
            if node in self._paused:
                self._start(self._resume(node))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def led_by(self, node: str, leader: str) -> None:
        """Note that another node leads the agents of one, which may be lost: they go on."""
        self._lost.discard(node)
        if node in self._paused:
            self._start(self._resume(node))

    async def _give_up(self, node: str, waits: bool) -> None:
        if waits:
            await asyncio.sleep(self._patience)
        names = [name for name, (home, _) in self._placed.items() if home == node]
        if node not in self._lost or not names:
            return  # it is back, or another one leads them
        if self._choice == "stop":
            self._gone(names)
        else:
            self._paused[node] = set(names) - self._paused_by_order
        await self._order(self._choice, names)
        if node not in self._lost and self._choice == "pause":  # it was back before they were paused
            await self._resume(node)

    async def _resume(self, node: str) -> None:
        await self._order("resume", sorted(self._paused.pop(node, ())))

    async def _order(self, verb: str, names: list[str]) -> None:
        there = [name for name in names if self._home.comes_back(name)]
        if not there:
            return
        try:
            await self._home.order(verb, there, _WITHIN)
        except ThreeModeError as error:
            log.warning("agents that were placed here, to %s while their home is lost: %s", verb, error)
