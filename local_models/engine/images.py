"""Images in a prompt: the rows of a call that stand in place of tokens, and how a step decodes them.

The scheduler knows numbers alone. A row of an image is a number that no token has, the same for the same image, so that
prefixes with images are shared like all others. A run of rows is decoded in one piece by itself: some models let its
rows see each other, which no other token of the batch may.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from local_models.errors import EngineFailed
from local_models.llama import Context
from local_models.llama.projector import ImageRows, Pieces
from local_models.scheduling.plan import Keep, Row, ScheduledCall, StepPlan
from local_models.scheduling.scheduler import Scheduler

MOST_LAGS = 4096  # images that are remembered, before those in no slot are forgotten


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


class PromptImages:
    """Images of the calls of an engine. `calls` has those of each call with some, until the call has ended."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.calls: dict[ScheduledCall, Sequence[ImageAt]] = {}
        self._lags: dict[int, int] = {}  # last row of an image -> positions that it takes less than rows

    def add(self, call: ScheduledCall, images: Sequence[ImageAt]) -> None:
        """Adds the images of a new call."""
        self.calls[call] = images
        if len(self._lags) > MOST_LAGS:
            slots = range(self._scheduler.limits.slots)
            held = {token for slot in slots for token in self._scheduler.slots.text(slot)}
            self._lags = {last: lag for last, lag in self._lags.items() if last in held}
        self._lags |= {image.rows.stand_ins[-1]: image.rows.lag for image in images if image.rows.lag}

    def position(self, edit: Keep) -> int:
        """Returns the position behind the tokens that a slot keeps."""
        if not self._lags or not edit.length:
            return edit.length
        kept = self._scheduler.slots.text(edit.slot)[: edit.length]
        return edit.length - sum([self._lags.get(token, 0) for token in kept if token < 0])

    def take(self, step: StepPlan) -> tuple[Row, ImageAt] | None:
        """Takes an image out of a step, as `take_image` does, and notes the positions of all its other rows."""
        pictured = take_image(step, self.calls)
        for row in step.rows:
            row.call.lag = lag_at(self.calls.get(row.call, ()), row.start)
        return pictured

    def decode(self, context: Context, row: Row, image: ImageAt) -> bool:
        """Decodes rows of an image; False: the KV cache has no room for them, and has none of them."""
        call, rows, at = row.call, image.rows, row.start - image.start
        call.lag = lag_at(self.calls[call], row.start)
        start = row.start if rows.places is None else image.start - call.lag
        places = None if rows.places is None else rows.places[:, at:]
        code = context.decode_rows(call.slot, start, rows.rows[at:], causal=rows.causal, places=places)
        if code not in (0, 1):
            raise EngineFailed(f"llama_decode failed with {code}")
        if code == 1:
            context.keep(call.slot, row.start - call.lag)
        return code == 0
