/* Take records out of rings, as messages.
 *
 * A reader copies a record, then checks whether the writer has passed it meanwhile; only then is the copy used. A gap is
 * detected by the record's number, not by position: any number that is not the next one is reported.
 *
 * The writer may be broken, or hostile, and write to its ring whatever it likes at any moment. So what counts is read once and
 * checked, every position is a multiple of 8 before it is used, and no loop depends on the writer to end: each is bounded
 * by what fits in the ring, and a walk that finds no end is given up after WALKS attempts.
 */
#include <string.h>

#include "pump.h"

enum item { ITEM_BROKEN = -1, ITEM_GAP = 0 }; /* else: the record's flags */

static int passed(const reader *r, uint64_t position) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&r->ring->oldest, memory_order_relaxed) > position;
}

/* Eight bytes of a header, read once; `offset` is a multiple of 8. */
static uint64_t word(const reader *r, uint64_t offset) {
    return atomic_load_explicit((const _Atomic uint64_t *)(r->data + offset), memory_order_relaxed);
}

/* Copy the header of the record at `*position`, past any padding. BROKEN: no writer of ours leaves it like that. */
enum peek bus_peek(const reader *r, uint64_t *position, uint64_t tail, bus_record *header) {
    for (;;) {
        if (*position == tail) return PEEK_EMPTY;
        if (tail - *position > r->capacity) return tail < *position ? PEEK_BROKEN : PEEK_LAPPED;
        uint64_t offset = *position & (r->capacity - 1), first = word(r, offset);
        memcpy(header, &first, sizeof first);
        uint64_t size = header->size;
        if (size >= sizeof *header && offset + sizeof *header <= r->capacity) {
            uint64_t lengths = word(r, offset + offsetof(bus_record, envelope));
            header->seq = word(r, offset + offsetof(bus_record, seq));
            memcpy(&header->envelope, &lengths, sizeof lengths);
        }
        if (passed(r, *position)) return PEEK_LAPPED;
        if (size < 8 || size % 8 || offset + size > r->capacity || size > tail - *position) return PEEK_BROKEN;
        if (header->flags == BUS_PAD) { /* up to the end of the ring, so that there is one a round at most */
            if (offset + size != r->capacity) return PEEK_BROKEN;
            *position += size;
            continue;
        }
        if (!(header->flags & (BUS_DATA | BUS_REFERENCE)) || size < sizeof *header || size > r->largest ||
            sizeof *header + (uint64_t)header->topic + header->envelope + header->body > size)
            return PEEK_BROKEN;
        return PEEK_RECORD;
    }
}

/* Where the ring begins and ends, as a writer of ours could have left it at this moment. 0: none could. */
static int bounds(const reader *r, uint64_t *oldest, uint64_t *tail) {
    uint64_t before = tail_of(r);
    *oldest = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);
    *tail = tail_of(r);
    if ((*oldest | *tail) % 8 || *oldest > *tail || before > *tail) return 0;
    return *oldest > before || before - *oldest <= r->capacity;
}

/* After being lapped: start at the oldest record plus a margin, so that the writer does not catch us at once. 0: it is broken. */
static int resume(reader *r) {
    bus_record header;
    uint64_t from, tail;
    for (int attempt = 0; attempt < WALKS; attempt++) {
        if (!bounds(r, &from, &tail)) return 0;
        uint64_t position = from;
        enum peek state = PEEK_RECORD;
        while (position - from < r->capacity / 8) {
            state = bus_peek(r, &position, tail, &header);
            if (state != PEEK_RECORD) break;
            position += header.size;
        }
        if (state == PEEK_BROKEN) return 0;
        if (state != PEEK_LAPPED) {
            r->position = position;
            return 1;
        }
    }
    r->position = tail; /* the next record's number tells how much that cost */
    return 1;
}

static PyObject *topic_of(reader *r, const char *bytes, size_t size) {
    if (r->topic != NULL && size == r->topic_size && memcmp(bytes, r->topic_bytes, size) == 0) return r->topic;
    PyObject *topic = PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)size, "strict");
    if (topic == NULL) return NULL;
    Py_XDECREF(r->topic);
    r->topic = topic;
    r->topic_size = size;
    memcpy(r->topic_bytes, bytes, size);
    return topic;
}

static PyObject *envelope_of(reader *r, const unsigned char *bytes, uint32_t size) {
    if (r->envelope != NULL && (Py_ssize_t)size == PyBytes_Size(r->envelope) &&
        memcmp(bytes, PyBytes_AsString(r->envelope), size) == 0) {
        Py_INCREF(r->envelope);
        return r->envelope;
    }
    PyObject *envelope = PyBytes_FromStringAndSize((const char *)bytes, size);
    if (envelope == NULL) return NULL;
    Py_XDECREF(r->envelope);
    Py_INCREF(envelope);
    r->envelope = envelope;
    return envelope;
}

static int append(PyObject *list, PyObject *item) {
    if (item == NULL) return -1;
    int result = PyList_Append(list, item);
    Py_DECREF(item);
    return result;
}

/* Count a gap and show it in our page, where the writer's receipts look. */
void bus_note_gap(Pump *self, reader *r, uint64_t first, uint64_t last) {
    uint64_t count = last - first + 1;
    self->lost += count;
    self->gaps++;
    uint64_t gaps = atomic_load_explicit(&r->entry->gaps, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees what follows sees that the gap before is counted */
    atomic_store_explicit(&r->entry->gap[gaps % BUS_GAPS].first, first, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gap[gaps % BUS_GAPS].last, last, memory_order_relaxed);
    atomic_store_explicit(&r->entry->lost, atomic_load_explicit(&r->entry->lost, memory_order_relaxed) + count, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gaps, gaps + 1, memory_order_release);
}

/* What is told is noted after that: what fails for want of memory is told another time, and once. */
static int tell(Pump *self, reader *r, PyObject *list, int what, uint64_t first, uint64_t last) {
    self->special = 1;
    return append(list, Py_BuildValue("iOKK", what, r->token, (unsigned long long)first, (unsigned long long)last));
}

/* Everything before record `seq` is lost. */
static int tell_gap(Pump *self, reader *r, PyObject *list, uint64_t seq) {
    if (tell(self, r, list, ITEM_GAP, r->next, seq - 1) < 0) return -1;
    bus_note_gap(self, r, r->next, seq - 1);
    r->next = seq;
    return 0;
}

static int tell_broken(Pump *self, reader *r, PyObject *list) {
    if (tell(self, r, list, ITEM_BROKEN, r->next, r->next) < 0) return -1;
    r->broken = BROKEN_TOLD;
    self->broken++;
    return 0;
}

/* Could a record of that number stand there? None is smaller than its header. */
static int fits(uint64_t seq, uint64_t position) { return seq != 0 && seq - 1 <= position / sizeof(bus_record); }

static PyObject *copy_bytes(const unsigned char *from, uint32_t size) { return PyBytes_FromStringAndSize((const char *)from, size); }

/* Wake the writer of a pair if it said that it waits for room. */
void bus_tell_waiting_writer(const reader *r) {
    if (r->peer_entry == NULL) return;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->peer_entry->waiting_on, memory_order_relaxed) != r->segment->common.uid) return;
    bus_wake(r->peer_fd);
}

/* Up to `limit` records of one ring; the number taken, or -1 with an exception set: what was taken before that is in `list`. */
static Py_ssize_t drain_one(Pump *self, reader *r, PyObject *list, Py_ssize_t limit) {
    if (!r->pair && !self->listening) return 0;
    Py_ssize_t taken = 0;
    int failed = 0, again = 0;
    uint64_t tail = tail_of(r), started = r->position;
    if (r->broken == BROKEN_UNTOLD && !r->paused) failed = tell_broken(self, r, list) < 0;
    while (taken < limit && !r->broken && !r->paused) {
        bus_record header;
        enum peek state = bus_peek(r, &r->position, tail, &header);
        if (state == PEEK_EMPTY) break;
        if (state == PEEK_LAPPED && resume(r)) {
            if (++again == WALKS) break; /* another time: what else the event loop has to do does not wait for that writer */
            tail = tail_of(r);
            continue;
        }
        if (state != PEEK_RECORD || header.topic >= TOPIC_LIMIT || header.seq < r->next) {
            failed = tell_broken(self, r, list) < 0;
            break;
        }
        if (header.seq != r->next) {
            failed = (fits(header.seq, r->position) ? tell_gap(self, r, list, header.seq) : tell_broken(self, r, list)) < 0;
            if (failed || ++again == WALKS) break;
            continue;
        }
        uint64_t position = r->position;
        const unsigned char *from = r->data + (position & (r->capacity - 1)) + sizeof header;
        PyObject *route = Py_None, *topic = self->direct;
        if (header.topic != 0) {
            char bytes[TOPIC_LIMIT];
            memcpy(bytes, from, header.topic);
            if (passed(r, position)) { /* peek will say so */
                if (++again == WALKS) break;
                continue;
            }
            topic = topic_of(r, bytes, header.topic);
            if (topic == NULL) {
                failed = !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError);
                if (failed) break;
                PyErr_Clear();
                failed = tell_broken(self, r, list) < 0;
                break;
            }
            PyObject *found = PyDict_GetItemWithError(self->routes, topic);
            failed = found == NULL && PyErr_Occurred();
            if (failed) break;
            if (found == Py_None && !(header.flags & BUS_REFERENCE)) { /* nobody here wants it: neither copied nor decoded */
                r->next = header.seq + 1;
                r->position = position + header.size;
                self->skipped++;
                taken++;
                continue;
            }
            if (found != NULL) route = found;
            if (self->cold) {
                self->cold = 0;
                if (PyTuple_Check(route) && PyTuple_Size(route) > FEW) bus_warm(route);
            }
        }
        PyObject *envelope = envelope_of(r, from + header.topic, header.envelope);
        PyObject *body = envelope == NULL ? NULL : copy_bytes(from + header.topic + header.envelope, header.body);
        failed = body == NULL;
        if (!failed && passed(r, position)) {
            Py_CLEAR(r->envelope); /* may be torn, like the body */
            Py_DECREF(envelope);
            Py_DECREF(body);
            if (++again == WALKS) break;
            continue;
        }
        bus_reach(STEP_DRAIN_COPIED);
        if (!failed) { /* may collect, and with it run anything: nothing that is borrowed is used after it */
            failed = append(list, bus_make_record(self->message, header.flags, r->token, header.seq, route, topic, envelope, body)) < 0;
        }
        Py_XDECREF(envelope);
        Py_XDECREF(body);
        if (failed) break;
        if (header.flags != BUS_DATA) self->special = 1;
        r->next = header.seq + 1;
        r->position = position + header.size;
        self->records++;
        self->bytes += header.size;
        taken++;
    }
    if (r->position != started && r->broken != DETACHED) {
        atomic_store_explicit(r->pair ? &r->entry->pair_position : &r->entry->position, r->position, memory_order_release);
        bus_reach(STEP_DRAIN_POSITION_STORED);
        bus_tell_waiting_writer(r);
    }
    return failed ? -1 : taken;
}

/* Messages, and (what, token, first, last) for gaps and broken rings, at most `limit`; bus_handled() when their handlers ran. */
PyObject *bus_drain(Pump *self, Py_ssize_t limit) {
    PyObject *list = PyList_New(0);
    if (list == NULL || self->draining) return list; /* called by what a collection ran in the middle of the other */
    bus_reach(STEP_DRAIN_START);
    self->special = 0;
    self->draining = 1;
    self->busy++;
    size_t idle = 0;
    int failed = 0;
    while (idle < self->count && limit > 0) {
        if (self->turn >= self->count) self->turn = 0;
        reader *r = self->readers[self->turn++];
        Py_ssize_t share = limit < 64 ? limit : 64; /* a turn each, so that a busy writer does not starve the others */
        Py_ssize_t taken = drain_one(self, r, list, share);
        if (taken < 0) { /* what was taken is handed out; what could not be is met again, at the beginning then */
            failed = PyList_Size(list) == 0;
            if (!failed) PyErr_Clear();
            break;
        }
        idle = taken ? 0 : idle + 1;
        limit -= taken;
    }
    self->draining = 0;
    bus_idle(self);
    if (!failed) return list;
    Py_DECREF(list);
    return NULL;
}

/* At the newest record, knowing its number: walk from the oldest. */
void bus_seek_tail(reader *r) {
    uint64_t tail, left = r->capacity / sizeof(bus_record) * 2; /* records in all walks: each begins behind where the last one ended */
    enum peek state = PEEK_LAPPED;
    for (int attempt = 0; attempt < WALKS && state == PEEK_LAPPED; attempt++) {
        uint64_t position, next = r->next;
        bus_record header;
        state = bounds(r, &position, &tail) ? PEEK_RECORD : PEEK_BROKEN;
        while (state == PEEK_RECORD && left-- > 0 && (state = bus_peek(r, &position, tail, &header)) == PEEK_RECORD) {
            if (!fits(header.seq, position)) state = PEEK_BROKEN;
            next = header.seq + 1;
            position += header.size;
        }
        if (state == PEEK_EMPTY) {
            r->position = position;
            r->next = next;
            return;
        }
    }
    if (state == PEEK_BROKEN) {
        r->broken = BROKEN_UNTOLD;
    } else {
        r->position = tail;
    }
}

static PyObject *replayed(const Pump *self, const reader *r, const bus_record *header, const unsigned char *from) {
    char bytes[TOPIC_LIMIT];
    memcpy(bytes, from, header->topic);
    from += header->topic;
    PyObject *topic = PyUnicode_DecodeUTF8(bytes, header->topic, "replace");
    PyObject *envelope = topic == NULL ? NULL : copy_bytes(from, header->envelope);
    PyObject *body = envelope == NULL ? NULL : copy_bytes(from + header->envelope, header->body);
    PyObject *record = NULL;
    if (body != NULL) record = bus_make_record(self->message, header->flags, r->token, header->seq, Py_None, topic, envelope, body);
    Py_XDECREF(topic);
    Py_XDECREF(envelope);
    Py_XDECREF(body);
    return record;
}

/* What a broadcast ring still holds from before our position, oldest first. */
PyObject *bus_replay(Pump *self, reader *r) {
    PyObject *list = PyList_New(0);
    if (list == NULL || r->broken) return list;
    uint64_t position, tail, until = r->position, next = 1;
    int sound = bounds(r, &position, &tail), again = 0, failed = 0;
    self->busy++;
    while (sound && !failed && again < WALKS && position < until) {
        bus_record header;
        enum peek state = bus_peek(r, &position, until, &header);
        if (state == PEEK_LAPPED) {
            uint64_t before = position;
            again++;
            sound = bounds(r, &position, &tail) && position > before;
            continue;
        }
        if (state != PEEK_RECORD || header.topic >= TOPIC_LIMIT || header.seq < next) break;
        PyObject *record = replayed(self, r, &header, r->data + (position & (r->capacity - 1)) + sizeof header);
        failed = record == NULL;
        if (!failed && passed(r, position)) {
            again++;
        } else if (!failed) {
            failed = PyList_Append(list, record) < 0;
            position += header.size;
            next = header.seq + 1;
        }
        Py_XDECREF(record);
    }
    bus_idle(self);
    if (!failed) return list;
    Py_DECREF(list);
    return NULL;
}
