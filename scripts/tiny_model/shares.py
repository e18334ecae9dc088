"""Shares of the training for each task: more for a task with more wrong answers. Pure."""

from scripts.tiny_model.tasks import TASKS

EASE = 0.97  # weight of the old error in the moving average of a task


class Errors:
    """Recent errors of each task, which decide its share of the conversations to come.

    The answers are those of the training itself. Each conversation is fresh, so the model has not seen it before, and
    the held-out prompts of the measurement play no part.
    """

    def __init__(self, of: dict[str, float] | None = None) -> None:
        self.of = of or dict.fromkeys(TASKS, 1.0)

    def add(self, answers: list[tuple[str, bool]]) -> None:
        """Records answers: the task of each, and whether it was right."""
        for task in self.of:
            mine = [good for name, good in answers if name == task]
            if mine:
                wrong = 1 - sum(mine) / len(mine)
                self.of[task] = EASE * self.of[task] + (1 - EASE) * wrong

    def shares(self, least: float) -> dict[str, float]:
        """Returns the share of each task; an error below `least` counts as `least`."""
        parts = {task: max(error, least) ** 0.5 for task, error in self.of.items()}
        return {task: part / sum(parts.values()) for task, part in parts.items()}
