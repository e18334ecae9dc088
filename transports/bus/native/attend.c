/* What the event loop calls when the bell rings.
 *
 * Woken, the pump stands up, drains, delivers, says how far it got, looks a little longer if that has paid of late, and lies
 * down again, in that order; it checks once more after lying down, so no wake-up is missed. All of that is here and not in
 * Python because a process that was asleep comes back to cold caches: what a wake-up touches is what it costs.
 */
#include <sys/epoll.h>

#include "pump.h"

#define CHUNK 32
#define COLD 1000000 /* nanoseconds of sleep after which the caches are somebody else's */
#define LOOK 12000 /* nanoseconds in one go: what else this event loop has to do waits no longer; a turn of it takes three thousand */

static int call(PyObject *callback, PyObject *argument) {
    PyObject *done = PyObject_CallFunctionObjArgs(callback, argument, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Silence the bell, and report the other descriptors behind it. */
static int answer(Pump *self, PyObject *host) {
    struct epoll_event events[8];
    int count = epoll_wait(self->epoll, events, 8, 0);
    PyObject *others = NULL;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == self->own_fd || fd == self->shard_fd) continue;
        if (others == NULL && (others = PyList_New(0)) == NULL) return -1;
        PyObject *number = PyLong_FromLong(fd);
        int failed = number == NULL || PyList_Append(others, number) < 0;
        Py_XDECREF(number);
        if (failed) {
            Py_DECREF(others);
            return -1;
        }
    }
    if (others == NULL) return 0;
    int result = call(PyTuple_GetItem(host, HOST_ENDED), others);
    Py_DECREF(others);
    return result;
}

/* The number drained, or -1. A few at a time, so that they are delivered and let go while they are in the cache. */
static Py_ssize_t drain_and_deliver(Pump *self, PyObject *host) {
    uint64_t before = self->records + self->skipped, taken = 0, more;
    do {
        PyObject *records = bus_drain(self, CHUNK);
        if (records == NULL) return -1;
        int result = 0;
        if (PyList_Size(records) > 0) result = self->special ? call(PyTuple_GetItem(host, HOST_SPECIAL), records) : bus_deliver(host, records);
        Py_DECREF(records);
        if (result < 0) return -1;
        more = self->records + self->skipped - before - taken;
        taken += more;
    } while (more >= CHUNK && taken < (uint64_t)self->batch && self->host != NULL);
    return (Py_ssize_t)taken;
}

/* run() at the loop's next turn. */
int bus_soon(Pump *self) {
    if (self->soon || self->host == NULL) return 0;
    self->soon = 1;
    PyObject *host = self->host, *again = self->again; /* the call may have us let go of both */
    Py_INCREF(host);
    Py_INCREF(again);
    int result = call(PyTuple_GetItem(host, HOST_CALL_SOON), again);
    Py_DECREF(again);
    Py_DECREF(host);
    return result;
}

/* Stays up, or does not. What else the loop has to do comes first: so it is asked to come back. */
static int stay_up(Pump *self, PyObject *host, Py_ssize_t drained) {
    if (drained == 0) {
        enum look found = bus_look(self, LOOK);
        if (found == LOOK_CROWDED) patience_ends(&self->patience, bus_now());
        if (found == LOOK_MORE) drained = drain_and_deliver(self, host);
        if (drained < 0) return -1;
    }
    if (self->host == NULL) return 0;
    bus_handled(self);
    return patience_lasts(&self->patience, bus_now(), drained > 0) ? bus_soon(self) : 0;
}

/* Any callback in here may close the pump. */
static int run(Pump *self, PyObject *host) {
    self->soon = 0;
    bus_stand_up(self);
    Py_ssize_t drained = drain_and_deliver(self, host);
    if (drained < 0) return -1;
    if (self->host != NULL && self->patience.span && stay_up(self, host, drained) < 0) return -1;
    if (PyDict_Size(PyTuple_GetItem(host, HOST_WAITING)) > 0 && call(PyTuple_GetItem(host, HOST_ROOM), NULL) < 0) return -1;
    if (self->soon || self->host == NULL) return 0;
    self->patience.lay_down = bus_now();
    return bus_park(self) ? 0 : bus_soon(self);
}

enum why { BY_LOOP, BY_EDGE, BY_EPOLL };

static PyObject *run_held(Pump *self, enum why why) {
    PyObject *host = self->host;
    if (host == NULL) Py_RETURN_NONE;
    Py_INCREF(host);
    int result = 0;
    if (why != BY_LOOP) {
        self->wakes++;
        if (why == BY_EPOLL) result = answer(self, host);
        long long now = bus_now();
        self->cold = self->patience.lay_down && now - self->patience.lay_down > COLD;
        patience_woken(&self->patience, now);
    }
    if (result == 0 && self->host != NULL) result = run(self, host);
    if (result < 0) { /* raised to the event loop; the rest is read later, if the loop goes on */
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        if (bus_soon(self) < 0) PyErr_Clear();
        PyErr_Restore(type, error, traceback);
    }
    Py_DECREF(host);
    if (result < 0) return NULL;
    Py_RETURN_NONE;
}

PyObject *pump_woken(PyObject *object, PyObject *unused) {
    (void)unused;
    return run_held((Pump *)object, BY_EPOLL);
}

PyObject *pump_rung(PyObject *object, PyObject *unused) {
    (void)unused;
    return run_held((Pump *)object, BY_EDGE);
}

PyObject *pump_run(PyObject *object, PyObject *unused) {
    (void)unused;
    return run_held((Pump *)object, BY_LOOP);
}

PyObject *pump_soon(PyObject *object, PyObject *unused) {
    (void)unused;
    if (bus_soon((Pump *)object) < 0) return NULL;
    Py_RETURN_NONE;
}

static int are_messages(PyObject *records) {
    for (Py_ssize_t i = PyList_Size(records); i-- > 0;) {
        if (PyObject_TypeCheck(PyList_GetItem(records, i), bus_record_type)) continue;
        PyErr_SetString(PyExc_TypeError, "deliver takes a list of messages");
        return 0;
    }
    return 1;
}

PyObject *pump_deliver(PyObject *object, PyObject *records) {
    Pump *self = (Pump *)object;
    if (!PyList_Check(records)) {
        PyErr_SetString(PyExc_TypeError, "deliver takes a list");
        return NULL;
    }
    PyObject *host = self->host;
    if (host == NULL) Py_RETURN_NONE;
    Py_INCREF(host);
    PyObject *own = PyList_GetSlice(records, 0, PyList_Size(records)); /* a callback may change the other */
    int result = own == NULL || !are_messages(own) ? -1 : bus_deliver(host, own);
    Py_XDECREF(own);
    Py_DECREF(host);
    if (result < 0) return NULL;
    Py_RETURN_NONE;
}

/* attend(host, batch, linger in nanoseconds, spin in nanoseconds) */
PyObject *pump_attend(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    PyObject *host;
    Py_ssize_t batch;
    long long linger, spin = 0;
    if (!PyArg_ParseTuple(args, "O!nL|L:attend", &PyTuple_Type, &host, &batch, &linger, &spin)) return NULL;
    if (PyTuple_Size(host) != HOST_PARTS || !PyDict_Check(PyTuple_GetItem(host, HOST_NEWEST)) ||
        !PyDict_Check(PyTuple_GetItem(host, HOST_WAITING))) {
        PyErr_Format(PyExc_TypeError, "attend takes a tuple of %d parts, as native/pump.h lists them", HOST_PARTS);
        return NULL;
    }
    PyObject *again = PyObject_GetAttrString(object, "run");
    if (again == NULL) return NULL;
    bus_let_go_of_host(self);
    Py_INCREF(host);
    self->host = host;
    self->again = again;
    self->batch = batch;
    patience_begins(&self->patience, linger, spin);
    atomic_store_explicit(&self->page->spin, (uint64_t)spin, memory_order_relaxed);
    Py_RETURN_NONE;
}

/* bell(epoll, own, shard): the descriptors that woken() silences */
PyObject *pump_bell(PyObject *object, PyObject *args) {
    Pump *self = (Pump *)object;
    if (!PyArg_ParseTuple(args, "iii:bell", &self->epoll, &self->own_fd, &self->shard_fd)) return NULL;
    Py_RETURN_NONE;
}

void bus_let_go_of_host(Pump *self) {
    Py_CLEAR(self->host);
    Py_CLEAR(self->again);
}
