"""States of an actor."""

from enum import Enum


class State(Enum):
    """State of an actor."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


# Looking up a member of an enum costs ten times what a global does, and every message does it.
STARTING, RUNNING, PAUSED, STOPPING, STOPPED = State
