/* The reading end: one pump per process drains every ring that the process reads, and says when it lies down.
 *
 * A reader copies a record, then asks whether the writer has passed it meanwhile; only then is the copy used. A gap is
 * not detected by position but by the record's number: whatever the reason, a number that is not the next one is told.
 */
#include "native.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TOPIC_LIMIT 256
#define WALKS 16
#define LOOKS 8        /* while lingering, before the core is offered to others */
#define CROWDED 20000  /* nanoseconds until we have it back that say that somebody took it */

enum item { ITEM_BROKEN = -1, ITEM_GAP = 0 }; /* else: the record's flags */

typedef struct {
    unsigned int slot;
    int pair, broken, paused;
    PyObject *token;
    Segment *segment;
    const bus_ring *ring;
    const unsigned char *data;
    uint64_t capacity, position, next, handled;
    bus_entry *entry; /* ours, about the writer */
    /* a pair: where its writer says that it waits for room, and how to wake it */
    Segment *peer_page;
    const bus_entry *peer_entry;
    int peer_fd;
    PyObject *topic; /* of the record before: most records have the same */
    size_t topic_size;
    char topic_bytes[TOPIC_LIMIT];
    PyObject *envelope; /* of the record before: a writer's messages to a topic all have the same */
} reader;

typedef struct {
    PyObject_HEAD
    Segment *page_segment, *bell_segment;
    bus_page *page;
    bus_bell *bell;
    unsigned int slot;
    uint64_t bit;
    reader **readers;
    size_t count, turn;
    PyObject *routes;
    PyTypeObject *message; /* what is made of a record */
    PyObject *direct;      /* the topic of what is not published: "" */
    int listening; /* whether anybody here wants broadcasts; if not, their rings are left alone */
    int special;   /* whether the last drain held anything but plain data */
    uint64_t records, skipped, lost, gaps, bytes, broken;
} Pump;

static PyObject *pump_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *page_object, *bell_object, *routes, *message;
    unsigned int slot;
    if (!PyArg_ParseTuple(args, "OOIO!O!:Pump", &page_object, &bell_object, &slot, &PyDict_Type, &routes, &PyType_Type, &message))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)message, bus_record_type)) {
        PyErr_SetString(PyExc_TypeError, "a pump makes messages of a type that derives from Record");
        return NULL;
    }
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    Segment *page = bus_expect(page_object, BUS_PAGE, 1);
    if (page == NULL) return NULL;
    Segment *bell = bus_expect(bell_object, BUS_BELL, 1);
    if (bell == NULL) return NULL;
    Pump *self = (Pump *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL) return NULL;
    Py_INCREF((PyObject *)page);
    Py_INCREF((PyObject *)bell);
    Py_INCREF(routes);
    Py_INCREF(message);
    self->message = (PyTypeObject *)message;
    self->page_segment = page;
    self->bell_segment = bell;
    self->routes = routes;
    self->page = (bus_page *)page->base;
    self->bell = (bus_bell *)bell->base;
    self->slot = slot;
    self->bit = UINT64_C(1) << (slot % BUS_SHARD);
    self->direct = PyUnicode_FromString("");
    if (self->direct == NULL) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

static int passed(const reader *r, uint64_t position) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&r->ring->oldest, memory_order_relaxed) > position;
}

static uint64_t tail_of(const reader *r) { return atomic_load_explicit(&r->ring->tail, memory_order_acquire); }

enum peek { PEEK_EMPTY, PEEK_RECORD, PEEK_LAPPED, PEEK_BROKEN };

/* Copy the header of the record at `*position`, past any padding. */
static enum peek peek(const reader *r, uint64_t *position, uint64_t tail, bus_record *header) {
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
            state = peek(r, &position, tail, &header);
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
static void note_gap(Pump *self, reader *r, uint64_t first, uint64_t last) {
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
    note_gap(self, r, first, last);
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
static void tell_waiting_writer(const reader *r) {
    if (r->peer_entry == NULL) return;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&r->peer_entry->waiting_on, memory_order_relaxed) != bus_common_of(r->segment)->uid) return;
    uint64_t one = 1;
    ssize_t written;
    do {
        written = write(r->peer_fd, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

/* Up to `limit` records of one ring; the number taken, or -1 with an exception set. */
static Py_ssize_t drain_one(Pump *self, reader *r, PyObject *list, Py_ssize_t limit) {
    if (!r->pair && !self->listening) return 0;
    Py_ssize_t taken = 0;
    uint64_t tail = tail_of(r), started = r->position;
    while (taken < limit && !r->broken && !r->paused) {
        bus_record header;
        enum peek state = peek(r, &r->position, tail, &header);
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
        tell_waiting_writer(r);
    }
    return taken;
}

/* drain(limit) -> messages, and (what, token, first, last) for gaps and broken rings; call handled() when their handlers ran. */
static PyObject *pump_drain(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    Py_ssize_t limit = PyLong_AsSsize_t(argument);
    if (limit == -1 && PyErr_Occurred()) return NULL;
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

static void handled(Pump *self) {
    for (size_t i = 0; i < self->count; i++) {
        reader *r = self->readers[i];
        if (r->pair || r->paused || r->handled == r->next - 1) continue;
        r->handled = r->next - 1;
        atomic_store_explicit(&r->entry->handled, r->handled, memory_order_release);
    }
}

static PyObject *pump_handled(PyObject *object, PyObject *unused) {
    (void)unused;
    handled((Pump *)object);
    Py_RETURN_NONE;
}

static int pending(const Pump *self) {
    for (size_t i = 0; i < self->count; i++) {
        const reader *r = self->readers[i];
        if (!r->broken && !r->paused && tail_of(r) != r->position && (r->pair || self->listening)) return 1;
    }
    return 0;
}

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static PyObject *pump_pending(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(pending((Pump *)object));
}

/* linger(nanoseconds): look for more without lying down. True: there is more. None: others want this core. */
static PyObject *pump_linger(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    long long wanted = PyLong_AsLongLong(argument);
    if (wanted == -1 && PyErr_Occurred()) return NULL;
    int found = pending(self), crowded = 0;
    if (!found) {
        Py_BEGIN_ALLOW_THREADS
        long long at = now(), until = at + wanted;
        do {
            for (int i = 0; i < LOOKS && !found; i++) {
                relax();
                found = pending(self);
            }
            if (found) break;
            sched_yield();
            long long then = at;
            at = now();
            found = pending(self);
            crowded = !found && at - then > CROWDED;
        } while (!found && !crowded && at < until);
        Py_END_ALLOW_THREADS
    }
    if (crowded) Py_RETURN_NONE;
    return PyBool_FromLong(found);
}

static void stand_up(Pump *self) {
    if (self->listening) atomic_fetch_and(&self->bell->sleepers, ~self->bit);
    uint64_t parked = atomic_load_explicit(&self->page->parked, memory_order_relaxed);
    if (parked & 1) atomic_store(&self->page->parked, parked + 1);
}

/* park() -> True: everybody knows that we sleep, and how far we got, and nothing is waiting. False: there is more, and we
 * are up again. */
static PyObject *pump_park(PyObject *object, PyObject *unused) {
    (void)unused;
    Pump *self = (Pump *)object;
    handled(self);
    if (self->listening) {
        atomic_fetch_or(&self->bell->sleepers, self->bit);
        atomic_fetch_add(&self->bell->parks, 1);
    }
    uint64_t parked = atomic_load_explicit(&self->page->parked, memory_order_relaxed);
    atomic_store(&self->page->parked, parked + 1 + (parked & 1));
    bus_reach(STEP_PARK_SAID);
    atomic_thread_fence(memory_order_seq_cst);
    if (!pending(self)) Py_RETURN_TRUE;
    stand_up(self);
    Py_RETURN_FALSE;
}

static PyObject *pump_unpark(PyObject *object, PyObject *unused) {
    (void)unused;
    stand_up((Pump *)object);
    Py_RETURN_NONE;
}

/* wake(limit): unpark and drain. */
static PyObject *pump_wake(PyObject *object, PyObject *argument) {
    stand_up((Pump *)object);
    return pump_drain(object, argument);
}

static void free_reader(reader *r) {
    Py_XDECREF(r->token);
    Py_XDECREF((PyObject *)r->segment);
    Py_XDECREF((PyObject *)r->peer_page);
    Py_XDECREF(r->topic);
    Py_XDECREF(r->envelope);
    PyMem_Free(r);
}

static reader *add_reader(Pump *self, PyObject *token, Segment *segment, unsigned int slot, int pair) {
    uint64_t at = offsetof(bus_page, entry) + slot * sizeof(bus_entry);
    if (bus_allocate(self->page_segment, at, sizeof(bus_entry)) < 0) return NULL;
    reader *r = PyMem_Calloc(1, sizeof *r);
    if (r == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    reader **grown = PyMem_Realloc(self->readers, (self->count + 1) * sizeof *grown);
    if (grown == NULL) {
        PyMem_Free(r);
        PyErr_NoMemory();
        return NULL;
    }
    self->readers = grown;
    Py_INCREF(token);
    Py_INCREF((PyObject *)segment);
    r->token = token;
    r->segment = segment;
    r->slot = slot;
    r->pair = pair;
    r->ring = (const bus_ring *)segment->base;
    r->data = segment->base + BUS_HEADER;
    r->capacity = bus_common_of(segment)->capacity;
    r->entry = &self->page->entry[slot];
    r->next = 1;
    self->readers[self->count++] = r;
    return r;
}

static reader *find(Pump *self, unsigned int slot, int pair, size_t *index) {
    for (size_t i = 0; i < self->count; i++) {
        if (self->readers[i]->slot == slot && self->readers[i]->pair == pair) {
            if (index != NULL) *index = i;
            return self->readers[i];
        }
    }
    return NULL;
}

/* At the newest record, knowing its number: walk from the oldest. */
static void seek_tail(reader *r) {
    for (int attempt = 0; attempt < WALKS; attempt++) {
        uint64_t position = atomic_load_explicit(&r->ring->oldest, memory_order_acquire), tail = tail_of(r), next = r->next;
        bus_record header;
        enum peek state;
        while ((state = peek(r, &position, tail, &header)) == PEEK_RECORD) {
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

static void start_at_tail(reader *r) {
    seek_tail(r);
    r->handled = r->next - 1;
    atomic_store_explicit(&r->entry->handled, r->handled, memory_order_relaxed);
    atomic_store_explicit(&r->entry->position, r->position, memory_order_release);
}

static PyObject *pump_listen(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    int on = PyObject_IsTrue(argument);
    if (on < 0) return NULL;
    if (!on) atomic_fetch_and(&self->bell->sleepers, ~self->bit);
    for (size_t i = 0; on && !self->listening && i < self->count; i++) {
        if (!self->readers[i]->pair) start_at_tail(self->readers[i]);
    }
    self->listening = on;
    Py_RETURN_NONE;
}

/* lost(slot, first, last): messages of a broadcast ring that could not be read for another reason than being lapped. */
static PyObject *pump_lost(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    unsigned int slot;
    unsigned long long first, last;
    if (!PyArg_ParseTuple(args, "IKK:lost", &slot, &first, &last)) return NULL;
    reader *r = find(self, slot, 0, NULL);
    if (r != NULL) note_gap(self, r, first, last);
    Py_RETURN_NONE;
}

static PyObject *pump_get_special(PyObject *object, void *closure) {
    (void)closure;
    return PyBool_FromLong(((Pump *)object)->special);
}

/* writer(token, ring, slot, from_start): read a broadcast ring, from its first record or from now on. */
static PyObject *pump_writer(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    PyObject *token, *ring_object;
    unsigned int slot;
    int from_start;
    if (!PyArg_ParseTuple(args, "OOIp:writer", &token, &ring_object, &slot, &from_start)) return NULL;
    Segment *ring = bus_expect(ring_object, BUS_RING, 0);
    if (ring == NULL) return NULL;
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    reader *r = add_reader(self, token, ring, slot, 0);
    if (r == NULL) return NULL;
    if (!from_start) seek_tail(r);
    r->handled = r->next - 1;
    atomic_store_explicit(&r->entry->position, r->position, memory_order_relaxed);
    atomic_store_explicit(&r->entry->handled, r->handled, memory_order_relaxed);
    atomic_store_explicit(&r->entry->lost, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gaps, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->released, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->ring, bus_common_of(ring)->uid, memory_order_release);
    Py_RETURN_NONE;
}

/* pair(token, ring, slot, page, fd): read the ring of a pair; `page` and `fd` wake its writer when it waits for room. */
static PyObject *pump_pair(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    PyObject *token, *ring_object, *page_object;
    unsigned int slot;
    int fd;
    if (!PyArg_ParseTuple(args, "OOIOi:pair", &token, &ring_object, &slot, &page_object, &fd)) return NULL;
    Segment *ring = bus_expect(ring_object, BUS_RING, 0);
    Segment *page = ring == NULL ? NULL : bus_expect(page_object, BUS_PAGE, 0);
    if (page == NULL) return NULL;
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    reader *r = add_reader(self, token, ring, slot, 1);
    if (r == NULL) return NULL;
    Py_INCREF((PyObject *)page);
    r->peer_page = page;
    r->peer_entry = &((const bus_page *)page->base)->entry[self->slot];
    r->peer_fd = fd;
    atomic_store_explicit(&r->entry->pair_position, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->pair_released, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->pair, bus_common_of(ring)->uid, memory_order_release);
    Py_RETURN_NONE;
}

static PyObject *pump_detach(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    unsigned int slot;
    int pair;
    if (!PyArg_ParseTuple(args, "Ip:detach", &slot, &pair)) return NULL;
    size_t index = 0;
    reader *r = find(self, slot, pair, &index);
    if (r == NULL) Py_RETURN_FALSE;
    memmove(self->readers + index, self->readers + index + 1, (self->count - index - 1) * sizeof *self->readers);
    self->count--;
    free_reader(r);
    Py_RETURN_TRUE;
}

/* state(slot, pair) -> (position, tail, next seq, broken), or None if it is not read. */
static PyObject *pump_state(PyObject *object, PyObject *args) {
    unsigned int slot;
    int pair;
    if (!PyArg_ParseTuple(args, "Ip:state", &slot, &pair)) return NULL;
    reader *r = find((Pump *)object, slot, pair, NULL);
    if (r == NULL) Py_RETURN_NONE;
    return Py_BuildValue("KKKi", (unsigned long long)r->position, (unsigned long long)tail_of(r), (unsigned long long)r->next, r->broken);
}

/* replay(slot) -> what a broadcast ring still holds from before our position, oldest first. */
static PyObject *pump_replay(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    unsigned long slot = PyLong_AsUnsignedLong(argument);
    if (slot == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    reader *r = find(self, (unsigned int)slot, 0, NULL);
    PyObject *list = PyList_New(0);
    if (list == NULL || r == NULL || r->broken) return list;
    uint64_t position = atomic_load_explicit(&r->ring->oldest, memory_order_acquire);
    while (position < r->position) {
        bus_record header;
        enum peek state = peek(r, &position, r->position, &header);
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

/* want_room(slot, uid): tell the reader of our ring to that member that we wait (0: no longer). */
static PyObject *pump_want_room(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    unsigned int slot;
    unsigned long long uid;
    if (!PyArg_ParseTuple(args, "IK:want_room", &slot, &uid)) return NULL;
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    uint64_t at = offsetof(bus_page, entry) + slot * sizeof(bus_entry);
    if (bus_allocate(self->page_segment, at, sizeof(bus_entry)) < 0) return NULL;
    atomic_store(&self->page->entry[slot].waiting_on, uid);
    atomic_thread_fence(memory_order_seq_cst);
    Py_RETURN_NONE;
}

/* released(slot, pair, number): the large payload of that number is no longer read. */
static PyObject *pump_released(PyObject *object, PyObject *args) {
    unsigned int slot;
    int pair;
    unsigned long long number;
    if (!PyArg_ParseTuple(args, "IpK:released", &slot, &pair, &number)) return NULL;
    reader *r = find((Pump *)object, slot, pair, NULL);
    if (r == NULL) Py_RETURN_FALSE;
    atomic_store_explicit(pair ? &r->entry->pair_released : &r->entry->released, number, memory_order_release);
    tell_waiting_writer(r);
    Py_RETURN_TRUE;
}

/* pause(slot, pair, on): leave the records of that ring where they are for now. */
static PyObject *pump_pause(PyObject *object, PyObject *args) {
    unsigned int slot;
    int pair, on;
    if (!PyArg_ParseTuple(args, "Ipp:pause", &slot, &pair, &on)) return NULL;
    reader *r = find((Pump *)object, slot, pair, NULL);
    if (r == NULL) Py_RETURN_FALSE;
    r->paused = on;
    Py_RETURN_TRUE;
}

static PyObject *pump_counters(PyObject *object, PyObject *unused) {
    (void)unused;
    Pump *self = (Pump *)object;
    return Py_BuildValue("KKKKKK", (unsigned long long)self->records, (unsigned long long)self->skipped, (unsigned long long)self->lost,
                         (unsigned long long)self->gaps, (unsigned long long)self->bytes, (unsigned long long)self->broken);
}

static PyObject *pump_close(PyObject *object, PyObject *unused) {
    (void)unused;
    Pump *self = (Pump *)object;
    stand_up(self);
    self->listening = 0;
    while (self->count > 0) free_reader(self->readers[--self->count]);
    Py_RETURN_NONE;
}

static void pump_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Pump *self = (Pump *)object;
    while (self->count > 0) free_reader(self->readers[--self->count]);
    PyMem_Free(self->readers);
    Py_XDECREF((PyObject *)self->page_segment);
    Py_XDECREF((PyObject *)self->bell_segment);
    Py_XDECREF(self->routes);
    Py_XDECREF((PyObject *)self->message);
    Py_XDECREF(self->direct);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMethodDef pump_methods[] = {
    {"drain", pump_drain, METH_O, "drain(limit) -> [message or (what, token, first, last), ...]"},
    {"handled", pump_handled, METH_NOARGS, "handled(): the handlers of all that was drained have run; park() says so too"},
    {"pending", pump_pending, METH_NOARGS, "pending() -> whether a ring holds more"},
    {"linger", pump_linger, METH_O, "linger(nanoseconds) -> whether there is more; None if others want this core"},
    {"park", pump_park, METH_NOARGS, "park() -> True if we may sleep"},
    {"wake", pump_wake, METH_O, "wake(limit): unpark() and drain(limit)"},
    {"unpark", pump_unpark, METH_NOARGS, "unpark()"},
    {"listen", pump_listen, METH_O, "listen(on): whether broadcast wakes us"},
    {"writer", pump_writer, METH_VARARGS, "writer(token, ring, slot, from_start)"},
    {"pair", pump_pair, METH_VARARGS, "pair(token, ring, slot, page, fd)"},
    {"detach", pump_detach, METH_VARARGS, "detach(slot, pair)"},
    {"state", pump_state, METH_VARARGS, "state(slot, pair) -> (position, tail, next, broken) or None"},
    {"replay", pump_replay, METH_O, "replay(slot) -> what the ring still holds from before"},
    {"want_room", pump_want_room, METH_VARARGS, "want_room(slot, uid)"},
    {"lost", pump_lost, METH_VARARGS, "lost(slot, first, last)"},
    {"released", pump_released, METH_VARARGS, "released(slot, pair, number)"},
    {"pause", pump_pause, METH_VARARGS, "pause(slot, pair, on)"},
    {"counters", pump_counters, METH_NOARGS, "counters() -> (records, skipped, lost, gaps, bytes, broken)"},
    {"close", pump_close, METH_NOARGS, "close(): lets go of every ring"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pump_getset[] = {
    {"special", pump_get_special, NULL, "whether the last drain held a gap, a reference, or a broken ring", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot pump_slots[] = {
    {Py_tp_new, pump_new},
    {Py_tp_dealloc, pump_dealloc},
    {Py_tp_methods, pump_methods},
    {Py_tp_getset, pump_getset},
    {0, NULL},
};

static PyType_Spec pump_spec = {
    .name = "transports.bus._ring.Pump",
    .basicsize = sizeof(Pump),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = pump_slots,
};

PyTypeObject *bus_make_pump_type(PyObject *module) { return (PyTypeObject *)PyType_FromModuleAndSpec(module, &pump_spec, NULL); }
