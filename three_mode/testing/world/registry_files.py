"""Files through which the processes of one machine in a world elect the host of a bus's registry."""

from typing import Any

from three_mode.testing.world.streams import StreamListener
from transports.bus.events import MemberInfo


class RegistryFiles:
    """Files of the registry of one bus, on one machine."""

    def __init__(self) -> None:
        self.listener: StreamListener | None = None  # at the socket, also where its process is dead
        self.locked_by: Any = None  # the process that holds the lock
        self.has_lock = False
        self.places: dict[int, MemberInfo] = {}
