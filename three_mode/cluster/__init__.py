"""Agents on several machines: nodes that find each other over NATS, and call each other's agents by name.

`Orchestrator(cluster="nats://10.0.0.1:4222", name="city")` makes a process the orchestrator of one node.
"""

from three_mode.cluster.core.timing import NodeTiming
from three_mode.cluster.options import Cluster

__all__ = ["Cluster", "NodeTiming"]
