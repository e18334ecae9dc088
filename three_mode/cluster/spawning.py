"""Spawning over nodes: all agents of one spawn or none, each on a node that may run them, within its time."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.cluster.core.calling import PEER_LOST
from three_mode.cluster.core.orders import Answer, PlaceOrder, RestartRule, read_placed
from three_mode.cluster.core.placing import names_of
from three_mode.cluster.core.planned import PlacingNode, is_one_of
from three_mode.cluster.placer import Placer, error_of
from three_mode.cluster.standing_by import StandingBy
from three_mode.errors import ConfigurationError, DeadlineExceeded, NotLeading, ThreeModeError
from transports.bus import BusError
from transports.bus import DeadlineExceeded as BusDeadlineExceeded

_NOT_ELSEWHERE = ("__main__", "__three_mode_main__", "__three_mode_here__")  # modules that no other node can import
_LOOKS, _LOOK_AGAIN = 5, 0.2  # for a node that is named, and has perhaps not been heard of yet
_AGAIN = 0.05  # seconds until agents whose node was lost meanwhile are placed again
_CHECK_EVERY = 0.5  # seconds between checks whether agents that are not visible yet are still wanted
_UNDO_WITHIN = 5.0


class ClusterSpawning:
    """Maker of new agents over the nodes of a cluster."""

    def __init__(self, placer: Placer, cluster: str, standing_by: StandingBy) -> None:
        self._placer, self._cluster = placer, cluster
        self._check_leads, self._copied = standing_by.check, standing_by.copied
        self._core, self._placing, self._home = placer.core, placer.placing, placer.home

    async def spawn(
        self,
        kind: type,
        order: SpawnOrder,
        restart: Restart,
        count: int,
        within: float,
        on: Sequence[str] = (),
        own_host: bool = False,
    ) -> range:
        """Make `count` agents and return their numbers once they can be called; if one fails, none is made."""
        ends, group, path = time.monotonic() + within, order.group, order.target
        template = PlaceOrder(
            0, group, (), path.module, path.name, order.init, order.roles, _policy(restart, order), own_host
        )
        only = self._core.id if path.module in _NOT_ELSEWHERE else ""
        plan = self._placing.plan
        if group not in plan.groups:
            self._placer.refusals.pop(group, None)
        if group not in plan.groups or group not in self._placer.kinds:
            self._placer.kinds[group] = kind, restart
        numbers = plan.open(template, on, count, self._home.next_number(group), only)
        names = [f"{group}/{number}" for number in numbers]
        try:
            await self._spread(group, list(numbers), on, ends)
            plan.spawned(names)
            await self._wait_visible(names, ends)
            await self._copied()
            self._check_leads("spawn")
        except NotLeading:
            raise  # who leads now goes on with what was begun
        except BaseException:
            await self._undo(names)
            raise
        return numbers

    async def _spread(self, group: str, left: list[int], on: Sequence[str], ends: float) -> None:
        """Make agents on the nodes. Those of a node that is lost meanwhile, or cannot run them, are placed again."""
        placer, plan, looks = self._placer, self._placing.plan, 0
        template = plan.groups[group].order if left else None
        while template is not None:
            self._check_leads("spawn")
            left = [number for number in left if f"{group}/{number}" in plan.agents]  # others were stopped meanwhile
            if not left:
                return
            nodes = self._placing.nodes(placer.here)
            placed = plan.spread(group, left, nodes, on)
            if not placed and (problem := self._nobody(group, template, nodes, on, looks < _LOOKS)) is not None:
                raise problem
            if not placed:
                looks += 1
                await asyncio.sleep(_LOOK_AGAIN)
                continue
            orders: dict[str, PlaceOrder] = {}
            futures = []
            for node, chosen in placed.items():
                number = self._core.order_number()
                orders[node] = one = msgspec.structs.replace(template, number=number, numbers=tuple(chosen))
                plan.ordered(names_of(one), node, number)
                futures.append(placer.give(node, one, max(0.001, ends - time.monotonic())))
            outcomes = await asyncio.gather(*futures, return_exceptions=True)
            left = [
                number
                for (node, one), outcome in zip(orders.items(), outcomes, strict=True)
                if self._is_to_be_placed_again(outcome, node, ends)
                for number in one.numbers
            ]
            if left:
                await asyncio.sleep(_AGAIN)

    def _is_to_be_placed_again(self, outcome: Answer | BaseException, node: str, ends: float) -> bool:
        if isinstance(outcome, BaseException):
            raise outcome
        if isinstance(outcome, bytes):
            return bool(read_placed(outcome).cannot)
        if outcome.code == PEER_LOST and time.monotonic() < ends:
            return True
        raise error_of(outcome, self._placer.name_of(node))

    def _nobody(
        self, group: str, order: PlaceOrder, nodes: list[PlacingNode], on: Sequence[str], may_come: bool
    ) -> ThreeModeError | None:
        """Return the error of a spawn that no node may do; None while such a node may still be heard of."""
        what, refusals = f"{order.module}.{order.kind}", self._placer.refusals.get(group, {})
        if self._placing.plan.groups[group].only:
            return ConfigurationError(
                f"{order.kind} is a class of this program alone, which no other node can import",
                hint=f"move it to a module that the nodes have, and allow that there: --import MODULE; on={on!r}",
            )
        named = [node for node in nodes if is_one_of(node, on)]
        for node in named:
            if node.id in refusals:
                return ConfigurationError(
                    refusals[node.id],
                    hint=f"install {order.module} on that machine, or start its node where it can be imported",
                )
        if may_come:
            return None
        named_only = [peer.name for peer in self._core.nodes() if peer.name in on]
        if named or named_only:
            names = ", ".join([node.name for node in named] or named_only)
            allowed = ", ".join(sorted({path for node in named for path in node.offer.allow})) or "none"
            return ConfigurationError(
                f"node {names} allows no class of {order.module}; the import paths that it allows: {allowed}",
                hint=f"three-mode node --import {order.module}, or Cluster(..., allow=({order.module!r},))",
            )
        labels = ", ".join(sorted({label for node in nodes for label in node.offer.labels})) or "none"
        known = ", ".join([node.name for node in nodes])
        return ConfigurationError(
            f"{what}: no node of the cluster {self._cluster!r} that takes orders has the name or label "
            f"{' or '.join(map(repr, on))}; labels: {labels}; nodes: {known}",
            hint=f"three-mode node --label {on[0] if on else 'LABEL'} --import {order.module}",
        )

    async def _wait_visible(self, names: list[str], ends: float) -> None:
        """Wait until this node's bus has the agents, so that the next call finds them."""
        bus = self._home.bus
        ends, agents = max(ends, time.monotonic() + _CHECK_EVERY), self._placing.plan.agents
        while True:  # an agent that ended itself at once never becomes visible
            names = [name for name in names if name in agents and bus.locate(name) is None]
            left = ends - time.monotonic()
            try:
                await bus.wait_for(names, within=max(0.001, min(left, _CHECK_EVERY)))
            except BusError as error:
                if not isinstance(error, BusDeadlineExceeded):
                    raise
                if left <= _CHECK_EVERY:
                    raise DeadlineExceeded(f"{names[0]} was made, and cannot be called yet", stage="start") from None
            else:
                return

    async def _undo(self, names: list[str]) -> None:
        """End the agents of a spawn that failed, wherever they are; those of a node that is lost, when it is back."""
        here = [name for name in names if self._home.comes_back(name)]
        self._placing.remove(names, self._core.id)
        self._placer.tick(time.monotonic(), False)
        self._placer.flush()
        with contextlib.suppress(ThreeModeError):  # the spawn's own error is the one to raise
            if here:
                await self._home.order("stop", here, _UNDO_WITHIN)
        ends, wanted = time.monotonic() + _UNDO_WITHIN, set(names)
        while time.monotonic() < ends and not self._has_ended(wanted):  # noqa: ASYNC110  # the plan knows no events
            await asyncio.sleep(_AGAIN)

    def _has_ended(self, names: set[str]) -> bool:
        """Return whether no node that can be asked has agents of these names to end."""
        plan = self._placing.plan
        reachable = [node for node in plan.graveyards if self._core.peers.reachable(node)]
        return all(names.isdisjoint(plan.buried(node)) for node in reachable)


def _policy(restart: Restart, order: SpawnOrder) -> RestartRule:
    strategy: Any = str(restart.strategy)
    return RestartRule(
        strategy,
        float(restart.limit),
        float(restart.within),
        float(restart.wait),
        float(restart.wait_at_most),
        order.on_error,
    )
