"""Images in a prompt: the rows of a call that stand in place of tokens, and how a step decodes them.

The scheduler knows numbers alone. A row of an image is a number that no token has, the same for the same image, so that
prefixes with images are shared like all others. A run of rows is decoded in one piece by itself: some models let its
rows see each other, which no other token of the batch may.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from local_models.llama.projector import ImageRows, Pieces
from local_models.scheduling.scheduler import Row, ScheduledCall, StepPlan


class ImageAt(NamedTuple):
    """A run of rows in a prompt."""

    start: int
    rows: ImageRows

    @property
    def end(self) -> int:
        """Returns the position behind it."""
        return self.start + len(self.rows.stand_ins)


def add_image(tokens: list[int], images: list[ImageAt], pieces: Pieces) -> None:
    """Adds what an image is to a prompt."""
    for piece in pieces:
        if isinstance(piece, ImageRows):
            images.append(ImageAt(len(tokens), piece))
            tokens += piece.stand_ins
        else:
            tokens += piece


def image_rows(step: StepPlan, images_of: Mapping[ScheduledCall, Sequence[ImageAt]]) -> list[tuple[Row, ImageAt]]:
    """Returns the rows of a step that begin in an image, each made to end with it.

    All other rows are made to end where an image begins, so that no other token is decoded with them.
    """
    found: list[tuple[Row, ImageAt]] = []
    for row in step.rows:
        image = next((image for image in images_of.get(row.call, ()) if image.end > row.start), None)
        if image is None or image.start >= row.start + row.count:
            continue
        if image.start <= row.start:
            row.count = image.end - row.start
            found.append((row, image))
        else:
            step.tokens -= row.start + row.count - image.start
            row.count = image.start - row.start
    return found
