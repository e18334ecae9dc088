/* Records out of rings, as messages.
 *
 * A reader copies a record, then asks whether the writer has passed it meanwhile; only then is the copy used. A gap is
 * not detected by position but by the record's number: whatever the reason, a number that is not the next one is told.
 */
#include <string.h>

#include "pump.h"

enum item { ITEM_BROKEN = -1, ITEM_GAP = 0 }; /* else: the record's flags */

static int passed(const reader *r, uint64_t position) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&r->ring->oldest, memory_order_relaxed) > position;
}

/* Copy the header of the record at `*position`, past any padding. */
enum peek bus_peek(const reader *r, uint64_t *position, uint64_t tail, bus_record *header) {
    for (;;) {
        if (*position == tail) return PEEK_EMPTY;
        if (tail - *position > r->capacity) return tail < *position ? PEEK_BROKEN : PEEK_LAPPED;
        uint64_t offset = *position & (r->capacity - 1);
        memcpy(header, r->data + offset, 8);
        uint64_t size = header->size;
        if (size >= sizeof *header && offset + sizeof *header <= r->capacity) memcpy(header, r->data + offset, sizeof *header);
        if (passed(r, *position)) return PEEK_LAPPED;
        if (size < 8 || size % 8 || offset + size > r->capacity || size > tail - *position) return PEEK_BROKEN;
        if (header->flags == BUS_PAD) {
            *position += size;
            continue;
        }
        if (!(header->flags & (BUS_DATA | BUS_REFERENCE)) || size < sizeof *header ||
            sizeof *header + (uint64_t)header->topic + header->envelope + header->body > size)
            return PEEK_BROKEN;
        return PEEK_RECORD;
    }
}

/* After being lapped: start at the oldest record plus a margin, so that the writer does not catch us at once. */
static void resume(reader *r) {
    bus_record header;
    for (int attempt = 0; attempt < WALKS; attempt++) {
        uint64_t from = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);
        uint64_t position = from, tail = tail_of(r);
        enum peek state = PEEK_RECORD;
        while (position < from + r->capacity / 8) {
            state = bus_peek(r, &position, tail, &header);
            if (state != PEEK_RECORD) break;
            position += header.size;
        }
        if (state == PEEK_RECORD || state == PEEK_EMPTY) {
            r->position = position;
            return;
        }
    }
    r->position = tail_of(r); /* the next record's number tells how much that cost */
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
    atomic_store_explicit(&r->entry->gap[gaps % BUS_GAPS].first, first, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gap[gaps % BUS_GAPS].last, last, memory_order_relaxed);
    atomic_store_explicit(&r->entry->lost, atomic_load_explicit(&r->entry->lost, memory_order_relaxed) + count, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gaps, gaps + 1, memory_order_release);
}

static int append_gap(Pump *self, reader *r, PyObject *list, uint64_t first, uint64_t last) {
    bus_note_gap(self, r, first, last);
    self->special = 1;
    return append(list, Py_BuildValue("iOKK", ITEM_GAP, r->token, (unsigned long long)first, (unsigned long long)last));
}

static int append_broken(Pump *self, reader *r, PyObject *list) {
    r->broken = 1;
    self->broken++;
    self->special = 1;
    return append(list, Py_BuildValue("iOKK", ITEM_BROKEN, r->token, (unsigned long long)r->next, (unsigned long long)r->next));
}

static PyObject *copy_bytes(const unsigned char *from, uint32_t size) { return PyBytes_FromStringAndSize((const char *)from, size); }

/* Wake the writer of a pair if it said that it waits for room. */
void bus_tell_waiting_writer(const reader *r) {
    if (r->peer_entry == NULL) return;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->peer_entry->waiting_on, memory_order_relaxed) != bus_common_of(r->segment)->uid) return;
    bus_wake(r->peer_fd);
}

/* Up to `limit` records of one ring; the number taken, or -1 with an exception set. */
static Py_ssize_t drain_one(Pump *self, reader *r, PyObject *list, Py_ssize_t limit) {
    if (!r->pair && !self->listening) return 0;
    Py_ssize_t taken = 0;
    uint64_t tail = tail_of(r), started = r->position;
    while (taken < limit && !r->broken && !r->paused) {
        bus_record header;
        enum peek state = bus_peek(r, &r->position, tail, &header);
        if (state == PEEK_EMPTY) break;
        if (state == PEEK_BROKEN) {
            if (append_broken(self, r, list) < 0) return -1;
            break;
        }
        if (state == PEEK_LAPPED) {
            resume(r);
            tail = tail_of(r);
            continue;
        }
        const unsigned char *from = r->data + (r->position & (r->capacity - 1)) + sizeof header;
        PyObject *route = Py_None, *topic = self->direct;
        if (header.topic >= TOPIC_LIMIT || header.seq < r->next) {
            if (append_broken(self, r, list) < 0) return -1;
            break;
        }
        if (header.topic != 0) {
            char bytes[TOPIC_LIMIT];
            memcpy(bytes, from, header.topic);
            if (passed(r, r->position)) continue; /* peek will say so */
            topic = topic_of(r, bytes, header.topic);
            if (topic == NULL) {
                PyErr_Clear();
                if (append_broken(self, r, list) < 0) return -1;
                break;
            }
            PyObject *found = PyDict_GetItemWithError(self->routes, topic);
            if (found == NULL && PyErr_Occurred()) return -1;
            if (found == Py_None && !(header.flags & BUS_REFERENCE)) { /* nobody here wants it: neither copied nor decoded */
                if (header.seq != r->next && append_gap(self, r, list, r->next, header.seq - 1) < 0) return -1;
                r->next = header.seq + 1;
                r->position += header.size;
                self->skipped++;
                taken++;
                continue;
            }
            if (found != NULL) route = found;
        }
        PyObject *envelope = envelope_of(r, from + header.topic, header.envelope);
        PyObject *body = copy_bytes(from + header.topic + header.envelope, header.body);
        int failed = envelope == NULL || body == NULL;
        if (!failed && passed(r, r->position)) {
            Py_CLEAR(r->envelope); /* may be torn, like the body */
            Py_DECREF(envelope);
            Py_DECREF(body);
            continue;
        }
        bus_reach(STEP_DRAIN_COPIED);
        if (!failed && header.seq != r->next) failed = append_gap(self, r, list, r->next, header.seq - 1) < 0;
        if (!failed) {
            failed = append(list, bus_make_record(self->message, header.flags, r->token, header.seq, route, topic, envelope, body)) < 0;
        }
        Py_XDECREF(envelope);
        Py_XDECREF(body);
        if (failed) return -1;
        if (header.flags != BUS_DATA) self->special = 1;
        r->next = header.seq + 1;
        r->position += header.size;
        self->records++;
        self->bytes += header.size;
        taken++;
    }
    if (r->position != started) {
        atomic_store_explicit(r->pair ? &r->entry->pair_position : &r->entry->position, r->position, memory_order_release);
        bus_reach(STEP_DRAIN_POSITION_STORED);
        bus_tell_waiting_writer(r);
    }
    return taken;
}

/* Messages, and (what, token, first, last) for gaps and broken rings, at most `limit`; bus_handled() when their handlers ran. */
PyObject *bus_drain(Pump *self, Py_ssize_t limit) {
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    bus_reach(STEP_DRAIN_START);
    self->special = 0;
    size_t idle = 0;
    while (idle < self->count && limit > 0) {
        if (self->turn >= self->count) self->turn = 0;
        reader *r = self->readers[self->turn++];
        Py_ssize_t share = limit < 64 ? limit : 64; /* a turn each, so that a busy writer does not starve the others */
        Py_ssize_t taken = drain_one(self, r, list, share);
        if (taken < 0) {
            Py_DECREF(list);
            return NULL;
        }
        idle = taken ? 0 : idle + 1;
        limit -= taken;
    }
    return list;
}

/* At the newest record, knowing its number: walk from the oldest. */
void bus_seek_tail(reader *r) {
    for (int attempt = 0; attempt < WALKS; attempt++) {
        uint64_t position = atomic_load_explicit(&r->ring->oldest, memory_order_acquire), tail = tail_of(r), next = r->next;
        bus_record header;
        enum peek state;
        while ((state = bus_peek(r, &position, tail, &header)) == PEEK_RECORD) {
            next = header.seq + 1;
            position += header.size;
        }
        if (state == PEEK_EMPTY) {
            r->position = position;
            r->next = next;
            return;
        }
    }
    r->position = tail_of(r);
}

/* What a broadcast ring still holds from before our position, oldest first. */
PyObject *bus_replay(Pump *self, reader *r) {
    PyObject *list = PyList_New(0);
    if (list == NULL || r->broken) return list;
    uint64_t position = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);
    while (position < r->position) {
        bus_record header;
        enum peek state = bus_peek(r, &position, r->position, &header);
        if (state == PEEK_EMPTY || state == PEEK_BROKEN) break;
        if (state == PEEK_RECORD) {
            const unsigned char *from = r->data + (position & (r->capacity - 1)) + sizeof header;
            PyObject *topic = PyUnicode_DecodeUTF8((const char *)from, header.topic, "replace");
            PyObject *envelope = copy_bytes(from + header.topic, header.envelope);
            PyObject *body = copy_bytes(from + header.topic + header.envelope, header.body);
            int failed = topic == NULL || envelope == NULL || body == NULL;
            int lapped = !failed && passed(r, position);
            if (!failed && !lapped)
                failed = append(list, bus_make_record(self->message, header.flags, r->token, header.seq, Py_None, topic, envelope, body)) < 0;
            Py_XDECREF(topic);
            Py_XDECREF(envelope);
            Py_XDECREF(body);
            if (failed) {
                Py_DECREF(list);
                return NULL;
            }
            if (!lapped) {
                position += header.size;
                continue;
            }
        }
        position = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);
    }
    return list;
}
