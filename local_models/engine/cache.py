"""KV cache of an engine: the context that has it, and the scheduler that knows what is in it. Both change together."""

from collections.abc import Sequence

from local_models.engine.images import PromptImages
from local_models.errors import EngineFailed
from local_models.llama import Context
from local_models.scheduling.plan import Copy, Keep, SchedulerLimits
from local_models.scheduling.scheduler import Scheduler


class KvCache:
    """The cache of one engine, used by its thread alone.

    `context` is that of now: a wider one takes its place. `images` are those of the calls in it.
    """

    def __init__(self, context: Context, limits: SchedulerLimits) -> None:
        self.context = context
        self.scheduler = Scheduler(limits)
        self.images = PromptImages(self.scheduler)
        self._adapters: Sequence[tuple[int, float]] = ()

    def edit(self, edits: Sequence[Copy | Keep]) -> None:
        """Makes the edits that the scheduler has planned."""
        for edit in edits:
            if isinstance(edit, Copy):
                self.context.copy(edit.source, edit.target)
            elif not self.context.keep(edit.slot, self.images.position(edit)) and edit.length:
                raise EngineFailed("this model cannot forget a part of a text; load it again")

    # --- states and adapters ---

    def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        """Returns the kept text that shares most with `tokens`, and its KV state; `((), b"")` where there is none."""
        slot, held = self.scheduler.slots.kept(tokens)
        if slot < 0:
            return (), b""
        return held, self.context.save(slot)

    def restore(self, tokens: list[int], state: bytes) -> bool:
        """Puts a KV state into a free slot; False: there is no room, or llama.cpp does not take it."""
        slot = self.scheduler.slots.adopt(tokens)
        for edit in self.scheduler.slots.edits():
            assert not isinstance(edit, Copy)
            self.context.keep(edit.slot, edit.length)
        if slot < 0:
            return False
        length = self.images.position(Keep(slot, len(tokens)))
        if self.context.restore(slot, state) and self.context.length(slot) == length:
            return True
        self.scheduler.slots.clear(slot)
        return False

    def adapters(self, chosen: Sequence[tuple[int, float]]) -> None:
        """Replaces the adapters, each a pointer and its scale; all texts are computed again."""
        self.context.adapters(chosen)
        self._adapters = chosen
        self.scheduler.start_over()

    # --- another context ---

    def take_over(self, other: Context) -> bool:
        """Puts what the sequences hold into another context; False: it cannot have them, and they are to be computed
        again. Raises the error of llama.cpp where that refuses the adapters there."""
        if self._adapters:
            other.adapters(self._adapters)
        self.scheduler.slots.evict_longer(other.sequence_tokens)
        slots = range(min(self.scheduler.limits.slots, other.shape.sequences))
        stay = [slot for slot in slots if self.scheduler.slots.holds_any(slot)]
        return all(other.take_over(self.context, slot) for slot in stay if self.context.length(slot))

    def go_on_in(self, other: Context, slot_tokens: int, *, taken: bool) -> None:
        """Goes on in another context, with sequences of at most so many tokens, and closes the present one."""
        if not taken:
            other.clear()
            self.scheduler.start_over()
        present, self.context = self.context, other
        present.close()
        self.scheduler.reshape(other.shape.sequences, slot_tokens)
