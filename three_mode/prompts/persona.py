"""Persona: who the model is to be, as a frozen value with a version."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from three_mode.errors import InvalidRequest


class Persona(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Who the model is to be: `Persona(name="Nova", traits=("curious", "patient"), style="Short sentences.")`.

    A persona is the program's own words, so that its text is instruction. The mood alone changes while a program runs;
    it stands last, and the text before it stays the same.
    """

    name: str = ""  #: how the model calls itself; "": it is not told
    traits: tuple[str, ...] = ()  #: what it is like, a word or a sentence each
    style: str = ""  #: how it speaks
    background: str = ""  #: what else it knows about itself
    version: str = "1"  #: of this persona; never shown to the model
    mood: str | None = None  #: how it feels now, as the program says

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str = "",
            traits: Sequence[str] = (),
            style: str = "",
            background: str = "",
            version: str = "1",
            mood: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        for field in ("name", "style", "background", "version", "mood"):
            value = getattr(self, field)
            if not isinstance(value, str) and not (field == "mood" and value is None):
                raise InvalidRequest(f"the {field} of a persona is a string, not {value!r}", field=field)
        force_setattr(self, "traits", strings(self.traits, "traits"))

    @property
    def label(self) -> str:
        """Name and version, for records and reports: "Nova@1"."""
        return f"{self.name or 'persona'}@{self.version}"

    def with_mood(self, mood: str | None) -> "Persona":
        """The same persona in another mood; None: in no mood that is told."""
        changed: Persona = msgspec.structs.replace(self, mood=mood)
        return changed

    def lines(self) -> tuple[str, ...]:
        """What the model is told, without the mood; the most important line first."""
        found = []
        if self.name:
            found.append(f"You are {_line(self.name)}.")
        if self.traits:
            found.append(f"Your traits: {'; '.join(map(_line, self.traits))}.")
        if self.style:
            found.append(f"Your style: {_line(self.style)}")
        if self.background:
            found.append(f"About you: {_line(self.background)}")
        return tuple(found)

    def mood_lines(self) -> tuple[str, ...]:
        """What the model is told of its mood."""
        return (f"Your mood now: {_line(self.mood)}",) if self.mood else ()


def strings(value: Any, field: str) -> tuple[str, ...]:
    """Converts a list of strings to a tuple. One string is not a list of letters."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(each, str) for each in value):
        raise InvalidRequest(f"{field} is a list of strings, not {value!r:.60}", field=field)
    return tuple(value)


def _line(text: str) -> str:
    return " ".join(text.split())
