"""Result of a check: its subject, the finding, and advice."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Status of a check.

    `broken` is a needed feature that does not work; `limited` and `absent` leave the rest working.
    """

    OK = "ok"
    LIMITED = "limited"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    area: str  #: area of the check, such as "bus"
    name: str  #: subject of the check
    status: Status  #: outcome
    found: str  #: finding, for people
    advice: str = ""  #: remedy, as a command where possible; "" where none is needed

    @property
    def needed_but_broken(self) -> bool:
        """Whether three-mode cannot run because of this finding."""
        return self.status is Status.BROKEN
