"""What a page may do to a system: pause, resume, restart and stop agents, kill a host, change a level of logging.

Each act is logged, with who asked for it, and is an event of the page.
"""

import asyncio
import logging
from typing import Literal

import msgspec

from three_mode.agents.wire.orders import NamesOrder
from three_mode.agents.wire.watching import LogLevelOrder
from three_mode.errors import InvalidRequest
from three_mode.page.system import WatchedSystem

log = logging.getLogger("three_mode.page")
MOST_NAMES = 10_000
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LONGEST_NAME = 200
UNKNOWN = "whose outcome is not known: the page has gone meanwhile"
_WITHIN = 15.0  # seconds of an order: agents may finish their messages


class Steer(msgspec.Struct, frozen=True):
    """What somebody wants done: `names` are agents; of `kill` hosts, of `log_level` loggers ("" is the root)."""

    act: Literal["pause", "resume", "restart", "stop", "kill", "log_level"]
    names: tuple[str, ...]
    level: str = ""

    def __str__(self) -> str:
        names = ", ".join(name or "the root logger" for name in self.names[:5])
        more = f" and {len(self.names) - 5} more" if len(self.names) > 5 else ""
        many = f"{len(self.names)} of them: " if len(self.names) > 1 else ""
        return f"{self.act} {many}{names}{more}{f' to {self.level}' if self.level else ''}"

    def check(self) -> None:
        """Raise InvalidRequest where it says what cannot be done."""
        if not self.names or len(self.names) > MOST_NAMES:
            raise InvalidRequest(f"names has one name at least, and {MOST_NAMES} at most", field="names")
        if len(set(self.names)) < len(self.names):
            raise InvalidRequest("each name stands in names once", field="names")
        if any(len(name) > _LONGEST_NAME or not name.isprintable() for name in self.names):
            raise InvalidRequest(f"a name has {_LONGEST_NAME} characters at most, which can be printed", field="names")
        if self.act == "log_level" and self.level not in LEVELS:
            raise InvalidRequest(f"a level is one of {', '.join(LEVELS)}", field="level")
        if self.act != "log_level" and (self.level or not all(self.names)):
            raise InvalidRequest(f"{self.act} takes names, and no level", field="level")


async def steer(system: WatchedSystem, what: Steer, who: str) -> None:
    """Do it. The orchestrator's error is raised; done or not, also where the page goes meanwhile, it is logged."""
    what.check()
    why = f"asked for on the page by {who}"
    try:
        if what.act == "log_level":
            for name in what.names:
                await system.ask("log_level", LogLevelOrder(name, logging.getLevelNamesMapping()[what.level], why))
        else:
            await system.ask(what.act, NamesOrder(what.names, why), _WITHIN)
    except asyncio.CancelledError:
        log.warning("%s: %s, %s", who, what, UNKNOWN)
        raise
    except Exception as error:
        log.warning("%s: %s, which failed: %s", who, what, error)
        raise
    log.warning("%s: %s", who, what)
