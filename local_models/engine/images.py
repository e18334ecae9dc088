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


def lag_at(images: Sequence[ImageAt], place: int) -> int:
    """Returns how many positions less than tokens a call takes up to a place in its prompt."""
    return sum(image.rows.lag for image in images if image.end <= place)


def add_image(tokens: list[int], images: list[ImageAt], pieces: Pieces) -> None:
    """Adds what an image is to a prompt."""
    for piece in pieces:
        if isinstance(piece, ImageRows):
            images.append(ImageAt(len(tokens), piece))
            tokens += piece.stand_ins
        else:
            tokens += piece


def take_image(step: StepPlan, images_of: Mapping[ScheduledCall, Sequence[ImageAt]]) -> tuple[Row, ImageAt] | None:
    """Takes the first row that begins in an image out of a step, and makes it end with the image.

    Other rows that begin in an image wait for the next steps, and all others end where an image begins: no other token
    is decoded with the rows of one, and who writes waits for one image at most.
    """
    first: tuple[Row, ImageAt] | None = None
    rows = []
    for row in step.rows:
        image = next((image for image in images_of.get(row.call, ()) if image.end > row.start), None)
        if image is None or image.start >= row.start + row.count:
            rows.append(row)
            continue
        before = max(image.start - row.start, 0)
        step.tokens -= row.count - before
        row.count = before
        if before:
            rows.append(row)
        elif first is None:
            row.count = image.end - row.start
            first = row, image
    step.rows = rows
    return first
