"""What the native part does to shared memory, line by line: the tables that the model is made of.

A row: where the line stands, the line, and the word that it touches. A row without a word is a fence, or the call of
the function whose rows follow.
"""

from tests.support.bus.memory_order.rows import Row, Rows


def _rows(*lines: tuple[str, str] | tuple[str, str, str]) -> Rows:
    return tuple(Row(*line) for line in lines)


_TAIL_OF = ("pump.h tail_of", "return atomic_load_explicit(&r->ring->tail, memory_order_acquire);")
_PASSED = (
    ("drain.c passed", "atomic_thread_fence(memory_order_acquire);"),
    ("drain.c passed", "return atomic_load_explicit(&r->ring->oldest, memory_order_relaxed) > position;"),
)

_MOVED = (
    "drain.c drain_one",
    (
        "atomic_store_explicit(r->pair ? &r->entry->pair_position : &r->entry->position, r->position,"
        " memory_order_release);"
    ),
    "position",
)
GAPS = 3  # that an entry holds: BUS_GAPS
_GAP = "atomic_store_explicit(&r->entry->gap[gaps % BUS_GAPS]"

# a record goes into a ring that is full, over the oldest one
PUT = _rows(
    ("writer.c bus_put", "atomic_store_explicit(&self->ring->oldest, self->oldest, memory_order_relaxed);", "oldest"),
    ("writer.c bus_put", "atomic_thread_fence(memory_order_release);"),
    ("writer.c bus_put", "memcpy(to, &header, sizeof header);", "header"),
    ("writer.c bus_put", "memcpy(to, body, (size_t)body_size);", "body"),
    ("writer.c bus_put", "atomic_store_explicit(&self->ring->tail, end, memory_order_release);", "tail"),
)
# a record is read, and checked twice: its header before it is believed, its body before it is used
TAKE = _rows(
    ("drain.c drain_one", "uint64_t tail = tail_of(r), started = r->position;"),
    (*_TAIL_OF, "tail"),
    ("drain.c bus_peek", "first = word(r, offset);"),
    (
        "drain.c word",
        "return atomic_load_explicit((const _Atomic uint64_t *)(r->data + offset), memory_order_relaxed);",
        "header",
    ),
    ("drain.c bus_peek", "if (passed(r, *position)) return PEEK_LAPPED;"),
    _PASSED[0],
    (*_PASSED[1], "oldest"),
    ("drain.c drain_one", "copy_bytes(from + header.topic + header.envelope, header.body);", "body"),
    ("drain.c drain_one", "if (!failed && passed(r, position)) {"),
    _PASSED[0],
    (*_PASSED[1], "oldest again"),
)
# where a ring begins and ends, of a writer that may be broken
BOUNDS = _rows(
    ("drain.c bounds", "uint64_t before = tail_of(r);"),
    (*_TAIL_OF, "tail before"),
    ("drain.c bounds", "*oldest = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);", "oldest"),
    ("drain.c bounds", "*tail = tail_of(r);"),
    (*_TAIL_OF, "tail"),
)
# a record is there, and who sleeps is rung
RING = _rows(
    ("writer.c bus_put", "atomic_store_explicit(&self->ring->tail, end, memory_order_release);", "tail"),
    ("writer.c bus_put", "ring_bells(self);"),
    ("writer.c ring_bells", "atomic_thread_fence(memory_order_seq_cst);"),
    ("writer.c ring_bells", "atomic_load_explicit(b->asleep, memory_order_relaxed) & b->mask", "asleep"),
    ("writer.c ring_bells", "uint64_t parks = atomic_load_explicit(b->parks, memory_order_seq_cst);", "parks"),
)
STAND_UP = _rows(
    ("sleep.c bus_stand_up", "atomic_fetch_and(&self->bell->sleepers, ~self->bit);", "asleep"),
)
# a reader of broadcasts lies down, unless there is more
PARK = _rows(
    ("sleep.c bus_park", "atomic_fetch_or(&self->bell->sleepers, self->bit);", "asleep"),
    ("sleep.c bus_park", "atomic_fetch_add(&self->bell->parks, 1);", "parks"),
    ("sleep.c bus_park", "atomic_thread_fence(memory_order_seq_cst);"),
    ("sleep.c bus_park", "if (!bus_pending(self)) return 1;"),
    ("sleep.c bus_pending", "(tail_of(r) == r->position && !r->broken)"),
    (*_TAIL_OF, "tail"),
)
# the same of a pair, whose writer looks at the page of its reader: one word says both
PARK_PAIR = _rows(
    ("sleep.c bus_park", "atomic_store(&self->page->parked, parked + 1 + (parked & 1));", "parked"),
    ("sleep.c bus_park", "atomic_thread_fence(memory_order_seq_cst);"),
    ("sleep.c bus_park", "if (!bus_pending(self)) return 1;"),
    ("sleep.c bus_pending", "(tail_of(r) == r->position && !r->broken)"),
    (*_TAIL_OF, "tail"),
)
# a writer that is held up says that it waits, and looks again
WANT_ROOM = _rows(
    ("pump.c pump_want_room", "atomic_store(&self->page->entry[slot].waiting_on, uid);", "waiting"),
    ("pump.c pump_want_room", "atomic_thread_fence(memory_order_seq_cst);"),
    (
        "writer.c gate_position",
        "return atomic_load_explicit(&g->entry->pair_position, memory_order_acquire);",
        "position",
    ),
)
# a reader says how far it is, and wakes a writer that waits for that
MOVE_ON = _rows(
    _MOVED,
    ("drain.c drain_one", "bus_tell_waiting_writer(r);"),
    ("drain.c bus_tell_waiting_writer", "atomic_thread_fence(memory_order_seq_cst);"),
    (
        "drain.c bus_tell_waiting_writer",
        "atomic_load_explicit(&r->peer_entry->waiting_on, memory_order_relaxed)",
        "waiting",
    ),
)
# a reader that must not be lapped: what it reads, and when it lets go of it
GATED_TAKE = _rows(
    ("drain.c drain_one", "copy_bytes(from + header.topic + header.envelope, header.body);", "body"),
    ("drain.c drain_one", "if (!failed && passed(r, position)) {"),
    _PASSED[0],
    (*_PASSED[1], "oldest"),
    _MOVED,
)
GATED_PUT = _rows(
    ("writer.c gate_position", "return atomic_load_explicit(&g->entry->position, memory_order_acquire);", "position"),
    *((row.place, row.line, row.word) for row in PUT),
)
# a large payload is written over another one, and its number goes out
FILL = _rows(
    ("segment.c segment_fill", "atomic_store_explicit(&large->generation, generation, memory_order_relaxed);", "odd"),
    ("segment.c segment_fill", "atomic_thread_fence(memory_order_release);"),
    ("segment.c segment_fill", "memcpy(self->base + BUS_HEADER, payload.buf, (size_t)payload.len);", "first half"),
    ("segment.c segment_fill", "memcpy(self->base + BUS_HEADER, payload.buf, (size_t)payload.len);", "second half"),
    (
        "segment.c segment_fill",
        "atomic_store_explicit(&large->generation, generation + 1, memory_order_release);",
        "even",
    ),
    ("writer.c bus_put", "atomic_store_explicit(&self->ring->tail, end, memory_order_release);", "tail"),
)
COPY = _rows(
    (*_TAIL_OF, "tail"),
    (
        "segment.c segment_copy",
        "if (atomic_load_explicit(&large->generation, memory_order_acquire) != generation)",
        "before",
    ),
    ("segment.c segment_copy", "memcpy(to, self->base + BUS_HEADER, (size_t)length);", "first half"),
    ("segment.c segment_copy", "memcpy(to, self->base + BUS_HEADER, (size_t)length);", "second half"),
    ("segment.c segment_copy", "atomic_thread_fence(memory_order_acquire);"),
    (
        "segment.c segment_copy",
        "if (atomic_load_explicit(&large->generation, memory_order_relaxed) != generation) {",
        "after",
    ),
)
# a reader that was lapped shows the gap in its page, and later how far its handlers are
NOTE_GAP = _rows(
    ("drain.c bus_note_gap", "atomic_thread_fence(memory_order_release);"),
    ("drain.c bus_note_gap", f"{_GAP}.first, first, memory_order_relaxed);", "first"),
    ("drain.c bus_note_gap", f"{_GAP}.last, last, memory_order_relaxed);", "last"),
    ("drain.c bus_note_gap", "atomic_store_explicit(&r->entry->gaps, gaps + 1, memory_order_release);", "gaps"),
    ("sleep.c bus_handled", "atomic_store_explicit(&r->entry->handled, r->handled, memory_order_release);", "handled"),
)
# it reads another ring of the same member from now on
CLEAR = _rows(
    ("pump.c pump_pair", "atomic_store_explicit(&r->entry->pair_released, 0, memory_order_relaxed);", "released"),
    ("pump.c pump_pair", "atomic_store_explicit(&r->entry->pair, ring->common.uid, memory_order_release);", "ring"),
)
# a receipt looks at the page
ENTRY = _rows(
    ("segment.c segment_entry", "atomic_load_explicit(&entry->handled, memory_order_acquire);", "handled"),
    ("segment.c segment_entry", "int listed = gaps_of(entry, &gaps, found);"),
    ("segment.c gaps_of", "*gaps = atomic_load_explicit(&entry->gaps, memory_order_acquire);", "gaps"),
    *(
        ("segment.c gaps_of", f"atomic_load_explicit(&entry->gap[place].{part}, memory_order_relaxed);", f"{part} {n}")
        for n in range(GAPS)
        for part in ("first", "last")
    ),
    ("segment.c gaps_of", "atomic_thread_fence(memory_order_acquire);"),
    ("segment.c gaps_of", "if (atomic_load_explicit(&entry->gaps, memory_order_relaxed) == *gaps)", "gaps again"),
)
# a writer looks at the page of its reader before it uses a segment again
RELEASED = _rows(
    ("segment.c segment_entry", "atomic_load_explicit(&entry->pair, memory_order_acquire);", "ring"),
    ("segment.c segment_entry", "atomic_load_explicit(&entry->pair_released, memory_order_acquire);", "released"),
)

ALL: dict[str, Rows] = {
    name: value
    for name, value in globals().items()
    if name.isupper() and not name.startswith("_") and isinstance(value, tuple)
}
