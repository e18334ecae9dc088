/* The reading end: one pump per process drains every ring that the process reads. This file is the type itself: which
 * rings it reads, and what is asked of them one by one.
 */
#include "pump.h"

#include <string.h>

/* What a record may be in a ring of any size: a writer sends inside its ring what it thinks small, whatever we take for large. */
#define INLINE_LIMIT (UINT64_C(1) << 20)
#define ENVELOPE_LIMIT (UINT64_C(1) << 16) /* header, topic and envelope */

static PyObject *pump_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    PyObject *page_object, *bell_object, *routes, *message;
    unsigned int slot;
    unsigned long long payload_limit = UINT64_MAX;
    if (!PyArg_ParseTuple(args, "OOIO!O!|K:Pump", &page_object, &bell_object, &slot, &PyDict_Type, &routes, &PyType_Type, &message,
                          &payload_limit))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)message, bus_record_type)) {
        PyErr_SetString(PyExc_TypeError, "a pump makes messages of a type that derives from Record");
        return NULL;
    }
    if (bus_keep_spares((PyTypeObject *)message) < 0) return NULL;
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
    self->payload_limit = payload_limit;
    self->bit = UINT64_C(1) << (slot % BUS_SHARD);
    self->direct = PyUnicode_FromString("");
    if (self->direct == NULL) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

/* drain(limit) -> messages, and (what, token, first, last) for gaps and broken rings; call handled() when their handlers ran. */
static PyObject *pump_drain(PyObject *object, PyObject *argument) {
    Py_ssize_t limit = PyLong_AsSsize_t(argument);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    return bus_drain((Pump *)object, limit);
}

static PyObject *pump_handled(PyObject *object, PyObject *unused) {
    (void)unused;
    bus_handled((Pump *)object);
    Py_RETURN_NONE;
}

static PyObject *pump_pending(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(bus_pending((Pump *)object));
}

/* linger(nanoseconds): look for more without lying down. True: there is more. None: others want this core. */
static PyObject *pump_linger(PyObject *object, PyObject *argument) {
    long long wanted = PyLong_AsLongLong(argument);
    if (wanted == -1 && PyErr_Occurred()) return NULL;
    enum look found = bus_look((Pump *)object, wanted);
    if (found == LOOK_CROWDED) Py_RETURN_NONE;
    return PyBool_FromLong(found == LOOK_MORE);
}

static PyObject *pump_park(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(bus_park((Pump *)object));
}

static PyObject *pump_unpark(PyObject *object, PyObject *unused) {
    (void)unused;
    bus_stand_up((Pump *)object);
    Py_RETURN_NONE;
}

static void free_reader(reader *r) {
    Py_XDECREF(r->token);
    Py_XDECREF((PyObject *)r->segment);
    Py_XDECREF((PyObject *)r->peer_page);
    Py_XDECREF(r->topic);
    Py_XDECREF(r->envelope);
    PyMem_Free(r);
}

/* The last of who reads a ring is done: what was detached meanwhile goes. */
void bus_idle(Pump *self) {
    if (--self->busy > 0) return;
    while (self->graves != NULL) {
        reader *r = self->graves;
        self->graves = r->grave;
        free_reader(r);
    }
}

/* It is none of `readers` any more. */
static void let_go_of(Pump *self, reader *r) {
    if (self->busy == 0) {
        free_reader(r);
        return;
    }
    r->broken = DETACHED;
    r->grave = self->graves;
    self->graves = r;
}

static void let_go_of_all(Pump *self) {
    bus_end_look(self);
    while (self->count > 0) let_go_of(self, self->readers[--self->count]);
}

/* Of a record, so that no header makes us ask for more memory than the largest message is worth. */
static uint64_t largest_of(const Pump *self, uint64_t capacity) {
    uint64_t payload = self->payload_limit > INLINE_LIMIT ? self->payload_limit : INLINE_LIMIT, fits = capacity / 4;
    return fits > ENVELOPE_LIMIT && fits - ENVELOPE_LIMIT > payload ? payload + ENVELOPE_LIMIT : fits;
}

static reader *add_reader(Pump *self, PyObject *token, Segment *segment, unsigned int slot, int pair) {
    uint64_t at = offsetof(bus_page, entry) + slot * sizeof(bus_entry);
    if (bus_allocate(self->page_segment, at, sizeof(bus_entry)) < 0) return NULL;
    reader *r = PyMem_Calloc(1, sizeof *r);
    if (r == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    bus_end_look(self);
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
    r->capacity = segment->common.capacity;
    r->largest = largest_of(self, r->capacity);
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

static void start_at_tail(reader *r) {
    bus_seek_tail(r);
    r->handled = r->next - 1;
    atomic_store_explicit(&r->entry->handled, r->handled, memory_order_relaxed);
    atomic_store_explicit(&r->entry->position, r->position, memory_order_release);
}

/* move(bell): sleep at another bell from now on; who does that has to look for messages before it sleeps. */
static PyObject *pump_move(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    Segment *bell = bus_expect(argument, BUS_BELL, 1), *before = self->bell_segment;
    if (bell == NULL) return NULL;
    bus_end_look(self);
    atomic_fetch_and(&self->bell->sleepers, ~self->bit);
    Py_INCREF((PyObject *)bell);
    self->bell_segment = bell;
    self->bell = (bus_bell *)bell->base;
    Py_DECREF((PyObject *)before);
    Py_RETURN_NONE;
}

static PyObject *pump_listen(PyObject *object, PyObject *argument) {
    Pump *self = (Pump *)object;
    int on = PyObject_IsTrue(argument);
    if (on < 0) return NULL;
    if (!on) atomic_fetch_and(&self->bell->sleepers, ~self->bit);
    for (size_t i = 0; on && !self->listening && i < self->count; i++) {
        if (!self->readers[i]->pair && !self->readers[i]->broken) start_at_tail(self->readers[i]);
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
    if (r != NULL) bus_note_gap(self, r, first, last);
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
    if (!from_start) bus_seek_tail(r);
    r->handled = r->next - 1;
    atomic_store_explicit(&r->entry->position, r->position, memory_order_relaxed);
    atomic_store_explicit(&r->entry->handled, r->handled, memory_order_relaxed);
    atomic_store_explicit(&r->entry->lost, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->gaps, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->released, 0, memory_order_relaxed);
    atomic_store_explicit(&r->entry->ring, ring->common.uid, memory_order_release);
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
    atomic_store_explicit(&r->entry->pair, ring->common.uid, memory_order_release);
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
    bus_end_look(self);
    memmove(self->readers + index, self->readers + index + 1, (self->count - index - 1) * sizeof *self->readers);
    self->count--;
    let_go_of(self, r);
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
    return r == NULL ? PyList_New(0) : bus_replay(self, r);
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
    bus_tell_waiting_writer(r);
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
    bus_stand_up(self);
    bus_let_go_of_host(self);
    self->listening = 0;
    let_go_of_all(self);
    Py_RETURN_NONE;
}

static void pump_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Pump *self = (Pump *)object;
    let_go_of_all(self);
    bus_let_go_of_host(self);
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
    {"unpark", pump_unpark, METH_NOARGS, "unpark()"},
    {"attend", pump_attend, METH_VARARGS, "attend(host, batch, linger, spin=0): what woken() and run() call, see native/pump.h"},
    {"move", pump_move, METH_O, "move(bell): sleep at another bell from now on"},
    {"bell", pump_bell, METH_VARARGS, "bell(epoll, own, shard): the descriptors that woken() silences"},
    {"woken", pump_woken, METH_NOARGS, "woken(): something behind the bell's epoll is ready, which is silenced; for the event loop"},
    {"rung", pump_rung, METH_NOARGS, "rung(): the same for an eventfd that the loop watches itself, by edges: nothing is to be silenced"},
    {"run", pump_run, METH_NOARGS, "run(): stand up, drain, deliver, and lie down or look again soon; for the event loop"},
    {"soon", pump_soon, METH_NOARGS, "soon(): run() at the loop's next turn"},
    {"deliver", pump_deliver, METH_O, "deliver(messages): to the callbacks of this process"},
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

static PyObject *pump_get_wakes(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromUnsignedLongLong(((Pump *)object)->wakes);
}

static PyObject *pump_get_due(PyObject *object, void *closure) {
    (void)closure;
    return PyBool_FromLong(((Pump *)object)->soon);
}

static PyGetSetDef pump_getset[] = {
    {"wakes", pump_get_wakes, NULL, "how often the bell rang", NULL},
    {"due", pump_get_due, NULL, "whether run() is in the loop's queue", NULL},
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

PyTypeObject *bus_pump_type;

PyTypeObject *bus_make_pump_type(PyObject *module) {
    bus_pump_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &pump_spec, NULL);
    return bus_pump_type;
}
