"""Checks of a cluster: its NATS server, and the nodes that answer there."""

import asyncio
from collections.abc import Iterator

from three_mode.agents.calling.join import join
from three_mode.agents.wire.orders import NodeTable
from three_mode.cluster import Cluster
from three_mode.doctor.check import Check, Status
from three_mode.errors import MissingExtra, ModeUnavailable, ThreeModeError
from transports.nats import NatsConnection, NatsError, NatsServerInfo

AREA = "cluster"
_TRIPS = 10
_SMALL = 1024 * 1024  # bytes of a message that servers take as they come


def checks(cluster: Cluster, name: str) -> Iterator[Check]:
    """Checks of this area. Without a name, those of the server alone."""
    yield from asyncio.run(_server(cluster))
    if name:
        yield from asyncio.run(_nodes(cluster, name))


async def _server(cluster: Cluster) -> list[Check]:
    connection = NatsConnection(cluster.nats)
    try:
        await connection.open()
    except ImportError as error:
        missing = MissingExtra.of(error.name or "nats-py", "cluster")
        return [Check(AREA, "server", Status.BROKEN, missing.message, missing.hint or "")]
    except NatsError as error:
        advice = "start it (nats-server), or see --tls, --credentials, --nkey and --token"
        return [Check(AREA, "server", Status.BROKEN, str(error), advice)]
    try:
        trips = sorted([await connection.round_trip() for _ in range(_TRIPS)])
        return _of_server(cluster, connection.server, trips[_TRIPS // 2])
    except NatsError as error:
        return [Check(AREA, "server", Status.BROKEN, str(error), "look at the network between this machine and it")]
    finally:
        await connection.close()


def _of_server(cluster: Cluster, server: NatsServerInfo, trip: float) -> list[Check]:
    room = Status.OK if server.max_payload >= _SMALL else Status.LIMITED
    return [
        Check(AREA, "server", Status.OK, f"nats-server {server.version} at {cluster.nats.shown}"),
        Check(
            AREA,
            "max_payload",
            room,
            f"{server.max_payload} bytes; larger payloads go in pieces",
            "" if room is Status.OK else "small pieces are slow: raise max_payload of nats-server",
        ),
        Check(
            AREA,
            "JetStream",
            Status.OK if server.jetstream else Status.ABSENT,
            "on" if server.jetstream else "off",
        ),
        Check(
            AREA,
            "tls",
            Status.OK if server.tls else Status.LIMITED,
            "on" if server.tls else "off",
            "" if server.tls else "beyond a network of your own: tls://, and --tls with the certificates",
        ),
        Check(AREA, "round trip", Status.OK, f"{trip * 1000:.2f} ms, the median of {_TRIPS}"),
    ]


async def _nodes(cluster: Cluster, name: str) -> list[Check]:
    try:
        async with join(name, cluster=cluster) as member:
            nodes = [node for node in (await member.table()).nodes if node.kind == "node"]
    except ModeUnavailable as error:
        return [Check(AREA, "nodes", Status.ABSENT, error.message, error.hint or "")]
    except ThreeModeError as error:
        return [Check(AREA, "nodes", Status.BROKEN, error.message, error.hint or "")]
    return [_of_node(node) for node in nodes]


def _of_node(node: NodeTable) -> Check:
    if node.problem:
        return Check(AREA, f"node {node.name}", Status.LIMITED, f"{node.state}: {node.problem}")
    found = f"{node.state}, three-mode {node.version}, {len(node.hosts)} hosts, {len(node.agents)} agents"
    return Check(AREA, f"node {node.name}", Status.OK, found)
