/* Writer of a ring: put a record, then wake the readers that sleep.
 *
 * Put is O(1) in readers. A gate is a reader that must not be lapped (the reader of a pair, a RELIABLE subscriber): its
 * position is read only when the cached minimum says that there may be no room. A bell is whom to wake.
 */
#include "writer.h"

#include <string.h>

#define CHUNK (64u * 1024u)

static PyObject *writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *object;
    if (!PyArg_ParseTuple(args, "O:Writer", &object)) return NULL;
    Segment *segment = bus_expect(object, BUS_RING, 1);
    if (segment == NULL) return NULL;
    Writer *self = (Writer *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL) return NULL;
    Py_INCREF((PyObject *)segment);
    self->segment = segment;
    self->ring = (bus_ring *)segment->base;
    self->data = segment->base + BUS_HEADER;
    self->capacity = segment->common.capacity;
    self->room_until = self->capacity;
    return (PyObject *)self;
}

static uint64_t gate_position(const Writer *self, const gate *g) {
    uint64_t uid = self->segment->common.uid;
    if (g->pair) {
        if (atomic_load_explicit(&g->entry->pair, memory_order_acquire) != uid) return 0;
        return atomic_load_explicit(&g->entry->pair_position, memory_order_acquire);
    }
    if (atomic_load_explicit(&g->entry->ring, memory_order_acquire) != uid) return 0;
    return atomic_load_explicit(&g->entry->position, memory_order_acquire);
}

/* Is there room up to `end` without lapping a gate? */
static int has_room(Writer *self, uint64_t end) {
    if (self->gate_count == 0 || end <= self->room_until) return 1;
    uint64_t least = self->tail;
    for (size_t i = 0; i < self->gate_count; i++) {
        uint64_t position = gate_position(self, &self->gates[i]);
        if (position < least) least = position;
    }
    self->room_until = least + self->capacity;
    return end <= self->room_until;
}

static void ring_bells(Writer *self) {
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < self->bell_count; i++) {
        bell *b = &self->bells[i];
        if (!(atomic_load_explicit(b->asleep, memory_order_relaxed) & b->mask)) continue;
        uint64_t parks = atomic_load_explicit(b->parks, memory_order_seq_cst);
        if (parks == b->rung_for) continue;
        b->rung_for = parks;
        self->rung++;
        bus_wake(b->fd);
    }
}

static long long damaged(void) {
    PyErr_SetString(PyExc_RuntimeError, "the ring of this member was overwritten by something else in this process");
    return -1;
}

long long bus_put(Writer *self, PyObject *topic_object, PyObject *envelope_object, const char *body, Py_ssize_t body_size, unsigned long flags) {
    char *topic, *envelope;
    Py_ssize_t topic_size, envelope_size;
    if (PyBytes_AsStringAndSize(topic_object, &topic, &topic_size) < 0 || PyBytes_AsStringAndSize(envelope_object, &envelope, &envelope_size) < 0)
        return -1;
    uint64_t size = BUS_ALIGN(sizeof(bus_record) + (uint64_t)topic_size + (uint64_t)envelope_size + (uint64_t)body_size);
    if (size > self->capacity / 4 || topic_size > UINT16_MAX) {
        PyErr_Format(PyExc_ValueError, "a record of %llu bytes does not fit a ring of %llu", (unsigned long long)size,
                     (unsigned long long)self->capacity);
        return -1;
    }
    if (self->reader != NULL && self->reader->listening && bus_soon(self->reader) < 0) return -1;
    bus_reach(STEP_PUT_START);
    uint64_t offset = self->tail & (self->capacity - 1);
    uint64_t to_end = self->capacity - offset;
    uint64_t padding = size > to_end ? to_end : 0;
    uint64_t end = self->tail + padding + size;
    if (!has_room(self, end)) {
        self->held++;
        return 0;
    }
    uint64_t touched = padding ? self->capacity : offset + size;
    if (touched > self->allocated) {
        uint64_t upto = (touched + CHUNK - 1) / CHUNK * CHUNK;
        if (upto > self->capacity) upto = self->capacity;
        if (bus_allocate(self->segment, BUS_HEADER + self->allocated, upto - self->allocated) < 0) return -1;
        self->allocated = upto;
    }
    if (end - self->oldest > self->capacity) {
        while (end - self->oldest > self->capacity) {
            uint64_t size_of_oldest = ((const bus_record *)(self->data + (self->oldest & (self->capacity - 1))))->size;
            if (size_of_oldest - 8 > self->capacity || size_of_oldest % 8) return damaged();
            self->oldest += size_of_oldest;
        }
        atomic_store_explicit(&self->ring->oldest, self->oldest, memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
    }
    bus_reach(STEP_PUT_OLDEST_STORED);
    if (padding) {
        bus_record *pad = (bus_record *)(self->data + offset);
        pad->size = (uint32_t)padding;
        pad->flags = BUS_PAD;
        pad->topic = 0;
        offset = 0;
    }
    bus_record header = {
        .size = (uint32_t)size,
        .flags = (uint16_t)flags,
        .topic = (uint16_t)topic_size,
        .seq = self->seq + 1,
        .envelope = (uint32_t)envelope_size,
        .body = (uint32_t)body_size,
    };
    unsigned char *to = self->data + offset;
    memcpy(to, &header, sizeof header);
    to += sizeof header;
    memcpy(to, topic, (size_t)topic_size);
    to += topic_size;
    bus_reach(STEP_PUT_HALF_COPIED);
    memcpy(to, envelope, (size_t)envelope_size);
    to += envelope_size;
    memcpy(to, body, (size_t)body_size);
    bus_reach(STEP_PUT_COPIED);
    self->tail = end;
    self->seq++;
    self->bytes += size;
    atomic_store_explicit(&self->ring->tail, end, memory_order_release);
    bus_reach(STEP_PUT_TAIL_STORED);
    ring_bells(self);
    bus_reach(STEP_PUT_RUNG);
    return (long long)self->seq;
}

static PyObject *writer_put(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "put(topic, envelope, body, flags)");
        return NULL;
    }
    unsigned long flags = PyLong_AsUnsignedLong(args[3]);
    if (flags == (unsigned long)-1 && PyErr_Occurred()) return NULL;
    char *body;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(args[2], &body, &size) < 0) return NULL;
    long long seq = bus_put((Writer *)object, args[0], args[1], body, size, flags);
    return seq < 0 ? NULL : PyLong_FromLongLong(seq);
}

static PyObject *writer_gate(PyObject *object, PyObject *args) {
    Writer *self = (Writer *)object;
    long id;
    unsigned int slot;
    int pair;
    PyObject *page_object;
    if (!PyArg_ParseTuple(args, "lOIp:gate", &id, &page_object, &slot, &pair)) return NULL;
    Segment *page = bus_expect(page_object, BUS_PAGE, 0);
    if (page == NULL) return NULL;
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    gate *grown = PyMem_Realloc(self->gates, (self->gate_count + 1) * sizeof(gate));
    if (grown == NULL) return PyErr_NoMemory();
    self->gates = grown;
    Py_INCREF((PyObject *)page);
    self->gates[self->gate_count++] =
        (gate){.id = id, .page = page, .entry = &((bus_page *)page->base)->entry[slot], .pair = pair};
    self->room_until = 0; /* the new gate may be further back than the cached minimum */
    Py_RETURN_NONE;
}

static PyObject *writer_ungate(PyObject *object, PyObject *argument) {
    Writer *self = (Writer *)object;
    long id = PyLong_AsLong(argument);
    if (id == -1 && PyErr_Occurred()) return NULL;
    for (size_t i = 0; i < self->gate_count; i++) {
        if (self->gates[i].id != id) continue;
        Segment *page = self->gates[i].page;
        self->gates[i] = self->gates[--self->gate_count];
        self->room_until = 0;
        Py_DECREF((PyObject *)page);
        Py_RETURN_TRUE;
    }
    Py_RETURN_FALSE;
}

/* slowest() -> (id, position) of the gate that is furthest back, or None. */
static PyObject *writer_slowest(PyObject *object, PyObject *unused) {
    (void)unused;
    Writer *self = (Writer *)object;
    long id = 0;
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < self->gate_count; i++) {
        uint64_t position = gate_position(self, &self->gates[i]);
        if (position < least) {
            least = position;
            id = self->gates[i].id;
        }
    }
    if (least == UINT64_MAX) Py_RETURN_NONE;
    return Py_BuildValue("lK", id, (unsigned long long)least);
}

static PyObject *add_bell(Writer *self, long id, Segment *segment, int fd, _Atomic uint64_t *asleep, _Atomic uint64_t *parks,
                          uint64_t mask) {
    bell *grown = PyMem_Realloc(self->bells, (self->bell_count + 1) * sizeof(bell));
    if (grown == NULL) return PyErr_NoMemory();
    self->bells = grown;
    Py_INCREF((PyObject *)segment);
    self->bells[self->bell_count++] =
        (bell){.id = id, .segment = segment, .asleep = asleep, .parks = parks, .mask = mask, .rung_for = UINT64_MAX, .fd = fd};
    Py_RETURN_NONE;
}

/* shard(id, fd, bell, without): wake the sleepers of a shard, except the members in the mask `without`. */
static PyObject *writer_shard(PyObject *object, PyObject *args) {
    long id;
    int fd;
    PyObject *bell_object;
    unsigned long long without;
    if (!PyArg_ParseTuple(args, "liOK:shard", &id, &fd, &bell_object, &without)) return NULL;
    Segment *segment = bus_expect(bell_object, BUS_BELL, 0);
    if (segment == NULL) return NULL;
    bus_bell *shared = (bus_bell *)segment->base;
    return add_bell((Writer *)object, id, segment, fd, &shared->sleepers, &shared->parks, ~(uint64_t)without);
}

/* member(id, fd, page): wake one member. */
static PyObject *writer_member(PyObject *object, PyObject *args) {
    long id;
    int fd;
    PyObject *page_object;
    if (!PyArg_ParseTuple(args, "liO:member", &id, &fd, &page_object)) return NULL;
    Segment *segment = bus_expect(page_object, BUS_PAGE, 0);
    if (segment == NULL) return NULL;
    bus_page *page = (bus_page *)segment->base;
    return add_bell((Writer *)object, id, segment, fd, &page->parked, &page->parked, 1);
}

static PyObject *writer_counters(PyObject *object, PyObject *unused) {
    (void)unused;
    Writer *self = (Writer *)object;
    return Py_BuildValue("KKKKKKK", (unsigned long long)self->seq, (unsigned long long)self->tail, (unsigned long long)self->oldest,
                         (unsigned long long)self->rung, (unsigned long long)self->bytes, (unsigned long long)self->held,
                         (unsigned long long)self->allocated);
}

static void writer_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Writer *self = (Writer *)object;
    for (size_t i = 0; i < self->gate_count; i++) Py_DECREF((PyObject *)self->gates[i].page);
    for (size_t i = 0; i < self->bell_count; i++) Py_DECREF((PyObject *)self->bells[i].segment);
    PyMem_Free(self->gates);
    PyMem_Free(self->bells);
    Py_XDECREF((PyObject *)self->segment);
    Py_XDECREF((PyObject *)self->reader);
    bus_let_go_of_publishing(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* reader(pump): the pump of this process, which is notified of each message */
static PyObject *writer_reader(PyObject *object, PyObject *pump) {
    Writer *self = (Writer *)object;
    if (!PyObject_TypeCheck(pump, bus_pump_type)) {
        PyErr_SetString(PyExc_TypeError, "a reader is a Pump");
        return NULL;
    }
    PyObject *before = (PyObject *)self->reader;
    Py_INCREF(pump);
    self->reader = (Pump *)pump;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyMethodDef writer_methods[] = {
    {"put", (PyCFunction)(void (*)(void))writer_put, METH_FASTCALL,
     "put(topic, envelope, body, flags) -> its number, or 0 if a gate holds it up"},
    {"publishes", writer_publishes, METH_VARARGS, "publishes(encode_into, receipt, encoded, small, topics, waiting): what publish() goes by"},
    {"publish", (PyCFunction)(void (*)(void))writer_publish, METH_FASTCALL,
     "publish(publisher, name, topic, envelope, payload) -> a receipt, or what it found out: the body, or None"},
    {"gate", writer_gate, METH_VARARGS, "gate(id, page, slot, pair): a reader that must not be lapped"},
    {"ungate", writer_ungate, METH_O, "ungate(id)"},
    {"slowest", writer_slowest, METH_NOARGS, "slowest() -> (id, position) or None"},
    {"shard", writer_shard, METH_VARARGS, "shard(id, fd, bell, without)"},
    {"member", writer_member, METH_VARARGS, "member(id, fd, page)"},
    {"reader", writer_reader, METH_O, "reader(pump): the pump of this process, which is notified of each message"},
    {"counters", writer_counters, METH_NOARGS, "counters() -> (seq, tail, oldest, rung, bytes, held, allocated)"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot writer_slots[] = {
    {Py_tp_new, writer_new},
    {Py_tp_dealloc, writer_dealloc},
    {Py_tp_methods, writer_methods},
    {0, NULL},
};

static PyType_Spec writer_spec = {
    .name = "transports.bus._ring.Writer",
    .basicsize = sizeof(Writer),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = writer_slots,
};

PyTypeObject *bus_make_writer_type(PyObject *module) { return (PyTypeObject *)PyType_FromModuleAndSpec(module, &writer_spec, NULL); }
