"""Reasoning: what a model thinks before it answers, apart from the answer. Pure.

The marks are known from the chat template. A template may begin the reasoning itself, at the end of the prompt; then
the answer has only the mark that ends it. Reasoning stands before the answer: marks behind it are text.
"""

from collections.abc import Sequence

Marks = tuple[str, str]
MARKS: tuple[Marks, ...] = (
    ("<think>", "</think>"),  # DeepSeek R1, Qwen 3, QwQ, GLM, SmolLM 3, Phi 4
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command
    ("<|channel>thought", "<channel|>"),  # Gemma 4
)


def reasoning_marks(template: str) -> Marks | None:
    """Returns the marks around the reasoning of the models of a chat template; None: they do not reason."""
    return next((marks for marks in MARKS if marks[0] in template or marks[1] in template), None)


def begins_inside(marks: Marks, prompt: Sequence[str]) -> bool:
    """Whether the template has begun the reasoning at the end of a prompt, which comes in parts."""
    return "".join(prompt[-2:]).rstrip().endswith(marks[0])


def overlap(text: str, mark: str) -> int:
    """Returns how many characters at the end of a text may be the beginning of a mark."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0


class ReasoningSplitter:
    """Splits one answer as it comes. White space around the reasoning, and before the answer behind it, is left out."""

    __slots__ = ("_at_edge", "_close", "_held", "_open", "inside", "over")

    def __init__(self, marks: Marks) -> None:
        self._open, self._close = marks
        self.inside = False  # whether the model thinks now
        self.over = False  # whether the answer has begun
        self._at_edge = True  # no word of the reasoning, or of the answer behind it, has come
        self._held = ""

    def feed(self, text: str) -> tuple[str, str]:
        """Adds text; returns what may be shown of the reasoning and of the answer."""
        if self.over and not self._at_edge:
            return "", text
        self._held += text
        thought = ""
        if not self.inside and not self.over:
            begun = self._held.lstrip()
            if begun.startswith(self._open):
                self.inside, self._held = True, begun[len(self._open) :]
            elif not begun or self._open.startswith(begun):
                return "", ""
            else:
                self.over, self._at_edge = True, False
        if self.inside:
            thought = self._thought()
        return thought, self._answer() if self.over else ""

    def _thought(self) -> str:
        at = self._held.find(self._close)
        if at >= 0:
            shown, self._held = self._held[:at].rstrip(), self._held[at + len(self._close) :]
            self.inside, self.over = False, True
        else:
            kept = len(self._held) - overlap(self._held, self._close)
            shown = self._held[:kept].rstrip()
            self._held = self._held[len(shown) :]
        if self._at_edge:
            stripped = shown.lstrip()
            if not stripped and not self.over:
                return ""
            shown = stripped
        self._at_edge = self.over
        return shown

    def _answer(self) -> str:
        text, self._held = self._held, ""
        if self._at_edge:
            text = text.lstrip()
            self._at_edge = not text
        return text

    def end(self, *, cut: bool) -> tuple[str, str]:
        """Returns the rest; `cut`: `max_tokens` ended the answer, so that half a mark in it is nobody's text."""
        held, self._held = self._held, ""
        if self.inside:
            held = held[: len(held) - overlap(held, self._close)] if cut else held
            return held.rstrip(), ""
        if self.over or (cut and held.strip()):
            return "", ""
        return "", held
