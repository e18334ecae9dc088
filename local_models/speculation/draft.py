"""Draft: a small model with the same vocabulary that writes ahead for all calls of a large one together.

It has a KV cache of its own, with a sequence for each slot of the large model's. A sequence holds the beginning of the
text of the call in that slot, and follows it when it is asked to write ahead: what it wrote and the call did not is
taken out of it first. A long text is read in parts, so that no step waits for it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from local_models.errors import BadOption, EngineFailed
from local_models.llama import Context, ContextShape, Weights
from local_models.scheduling.plan import ScheduledCall
from local_models.scheduling.prefix_trie import common_prefix_length

AHEAD = 64  # most tokens behind a text that it writes ahead, and some to spare
READ = 64  # most tokens of texts that are read in a step, beside those of the calls that are written ahead for
RENEWED = 0.1  # weight of a new measurement of what a token takes


def check_vocabulary(weights: Weights, draft: Weights) -> None:
    """Raises `BadOption` where the draft model has other tokens: what it proposes would mean something else."""
    reason = ""
    if draft.vocabulary != weights.vocabulary:
        reason = f"{draft.vocabulary} tokens, the model has {weights.vocabulary}"
    elif draft.ends != weights.ends or draft.control != weights.control:
        reason = "other control tokens than the model"
    else:
        other = next((t for t in range(weights.vocabulary) if draft.text_of(t) != weights.text_of(t)), -1)
        if other >= 0:
            reason = f"{draft.text_of(other)!r} as token {other}, where the model has {weights.text_of(other)!r}"
    if not reason and draft.recurrent:
        reason = "recurrent layers, which cannot forget a part of a text"
    if reason:
        raise BadOption(
            f"the draft model does not fit: it has {reason}",
            field="draft",
            hint="choose a smaller model of the same family",
        )


@dataclass(slots=True)
class _Held:
    """What a sequence holds: the first `length` tokens of a call's text, then those that it wrote ahead."""

    call: ScheduledCall
    length: int = 0
    ahead: list[int] = field(default_factory=list)


class DraftModel:
    """Writes ahead for calls. `shape` is that of the large model's context."""

    def __init__(self, weights: Weights, shape: ContextShape) -> None:
        self._weights = weights
        self._context = Context(weights, shape)
        self._held: dict[int, _Held] = {}
        self.token_seconds = 0.0
        """Seconds of a token of one call."""
        self.spent = 0.0
        """Seconds of all work so far."""

    def follows(self, calls: Sequence[ScheduledCall]) -> list[bool]:
        """Returns which calls it can write ahead for now. Reads on in the text of the first that it cannot."""
        started, room, found = time.perf_counter(), READ, []
        self._make_room(max(call.slot for call in calls) + 1, max(len(call.tokens) for call in calls) + AHEAD)
        for call in calls:
            held = self._sequence(call)
            missing = len(call.tokens) - 1 - held.length
            if missing > READ and room:
                self._read(held, room)
                room = 0
            found.append(missing <= READ)
        self.spent += time.perf_counter() - started
        return found

    def write_ahead(self, calls: Sequence[ScheduledCall], lengths: Sequence[int], threads: int) -> list[list[int]]:
        """Returns so many next tokens of each call, by the likeliest ones of the draft model; calls in order of slots.

        A round computes a token of every call that is to have more.
        """
        started = time.perf_counter()
        self._context.use_threads(threads)
        texts = [call.tokens[self._sequence(call).length :] for call in calls]
        written: list[list[int]] = [[] for _ in calls]
        active, batch = [at for at, length in enumerate(lengths) if length], self._context.shape.batch
        while active:
            if sum(len(texts[at]) for at in active) > batch:  # many texts to catch up with: the rest of them later
                active = active[: max(len(active) // 2, 1)]
                continue
            likeliest = self._compute([calls[at] for at in active], [texts[at] for at in active])
            for at, token in zip(active, likeliest, strict=True):
                texts[at] = [token]
                written[at].append(token)
            active = [at for at in active if len(written[at]) < lengths[at]]
        for call, tokens in zip(calls, written, strict=True):
            if tokens:
                held = self._held[call.slot]
                held.length, held.ahead = len(call.tokens), tokens[:-1]
        taken, count = time.perf_counter() - started, sum(map(len, written))
        self.spent += taken
        if count:
            self.token_seconds += (taken / count - self.token_seconds) * (RENEWED if self.token_seconds else 1)
        return written

    def _compute(self, calls: Sequence[ScheduledCall], texts: Sequence[Sequence[int]]) -> list[int]:
        """Adds tokens to the sequences of calls; returns the likeliest token behind each."""
        context, at = self._context, 0
        for call, text in zip(calls, texts, strict=True):
            count, start = len(text), context.length(call.slot)
            context.tokens[at : at + count] = text
            context.positions[at : at + count] = range(start, start + count)
            context.sequence[at : at + count] = call.slot
            context.wanted[at : at + count] = 0
            at += count
            context.wanted[at - 1] = 1
        if context.decode(at) != 0:
            raise EngineFailed("llama.cpp could not compute the draft model", hint="load the model without `draft`")
        likeliest: list[int] = context.logits(len(calls)).argmax(axis=1).tolist()
        return likeliest

    def _read(self, held: _Held, most: int) -> None:
        text = held.call.tokens[held.length : held.length + most]
        self._compute([held.call], [text])
        held.length += len(text)

    def _sequence(self, call: ScheduledCall) -> _Held:
        """Returns what the sequence of a call's slot holds of its text, and takes all else out of it."""
        held = self._held.get(call.slot)
        if held is None:
            held = self._held[call.slot] = _Held(call)
        same, most = held.length, len(call.tokens) - 1
        if held.call is not call:
            same = common_prefix_length(held.call.tokens[: held.length], call.tokens)
            held.call, held.ahead = call, []
        elif held.ahead:
            same += common_prefix_length(held.ahead, call.tokens[held.length :])
            held.ahead = []
        held.length = min(same, most)
        if self._context.length(call.slot) > held.length and not self._context.keep(call.slot, held.length):
            self._context.keep(call.slot, 0)
            held.length = 0
        return held

    def _make_room(self, sequences: int, length: int) -> None:
        """Makes a larger context where the large model's has grown; texts are read again."""
        shape, each = self._context.shape, self._context.sequence_tokens
        if sequences <= shape.sequences and (shape.unified or length <= each):
            return
        while each < length:
            each *= 2
        self._context.close()
        self._held.clear()
        count = max(sequences, shape.sequences)
        tokens = shape.tokens if shape.unified else each * count
        self._context = Context(self._weights, msgspec.structs.replace(shape, sequences=count, tokens=tokens))

    def close(self) -> None:
        """Frees the context; the weights are the caller's."""
        self._context.close()
