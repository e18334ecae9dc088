"""One finding: what was looked at, what was found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """`broken` is something needed that does not work; `limited` and `absent` leave the rest working."""

    OK = "ok"
    LIMITED = "limited"
    ABSENT = "absent"
    BROKEN = "broken"


@dataclass(frozen=True)
class Check:
    """`advice` is what to do, in words that can be typed where that is possible; empty where all is well."""

    area: str
    name: str
    status: Status
    found: str
    advice: str = ""

    @property
    def needed_but_broken(self) -> bool:
        return self.status is Status.BROKEN
