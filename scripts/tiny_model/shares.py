"""How much of the training each task gets: the more, the more often it is answered wrong. Pure."""

from scripts.tiny_model.tasks import TASKS

EASE = 0.97  # how slowly the error of each task follows what is seen


class Errors:
    """How often each task is answered wrong lately, and by that its share of the conversations to come.

    The answers are those of the training itself: each was just made, so none was seen before, and what is held out for
    the measurement plays no part in the choice.
    """

    def __init__(self, of: dict[str, float] | None = None) -> None:
        self.of = of or dict.fromkeys(TASKS, 1.0)

    def add(self, answers: list[tuple[str, bool]]) -> None:
        for task in self.of:
            mine = [good for name, good in answers if name == task]
            if mine:
                wrong = 1 - sum(mine) / len(mine)
                self.of[task] = EASE * self.of[task] + (1 - EASE) * wrong

    def shares(self, least: float) -> dict[str, float]:
        """`least` is the error from which on a task is no longer given less."""
        parts = {task: max(error, least) ** 0.5 for task, error in self.of.items()}
        return {task: part / sum(parts.values()) for task, part in parts.items()}
