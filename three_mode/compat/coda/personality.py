"""`PersonalityManager`: who the model is to be. A `Persona` of `three_mode.prompts` says it."""

from three_mode.prompts import Persona

CODA = Persona(
    name="Coda",
    traits=("curious", "warm", "precise"),
    style="Natural and brief; a dry joke now and then.",
    mood="attentive",
)


class PersonalityManager:
    """The personality of every conversation of a manager. A change counts from the next turn on."""

    def __init__(self, persona: Persona = CODA) -> None:
        self.persona = persona

    def set_mood(self, mood: str | None) -> None:
        """How it feels now; None: it is not told."""
        self.persona = self.persona.with_mood(mood)

    def lines(self) -> tuple[str, ...]:
        """What the model is told of it, without the mood."""
        return self.persona.lines()

    def mood_lines(self) -> tuple[str, ...]:
        """What the model is told of its mood."""
        return self.persona.mood_lines()
