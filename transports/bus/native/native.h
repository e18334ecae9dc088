/* What the C files of the native part share. */
#ifndef BUS_NATIVE_H
#define BUS_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layout.h"

typedef struct {
    PyObject_HEAD
    unsigned char *base;
    size_t size;
    int writable;
    int fd;          /* kept for fallocate by the owner, else -1 */
    uint64_t filled; /* bytes of a large payload whose pages exist, the most that was ever filled in */
    bus_common common; /* as it was checked: what lies in shared memory may be something else by now */
} Segment;

/* Steps of the protocol at which a fault test may stop or kill this process. */
enum bus_step {
    STEP_NONE = 0,
    STEP_PUT_START,
    STEP_PUT_OLDEST_STORED,
    STEP_PUT_HALF_COPIED,
    STEP_PUT_COPIED,
    STEP_PUT_TAIL_STORED,
    STEP_PUT_RUNG,
    STEP_DRAIN_START,
    STEP_DRAIN_COPIED,
    STEP_DRAIN_POSITION_STORED,
    STEP_PARK_SAID,
    STEP_COUNT
};

extern int bus_failpoint;
void bus_fail(void);

static inline void bus_reach(int step) {
    if (__builtin_expect(bus_failpoint == step, 0)) bus_fail();
}

extern PyTypeObject *bus_segment_type, *bus_record_type, *bus_pump_type;

PyObject *bus_is_plain(PyObject *module, PyObject *value);
PyTypeObject *bus_make_record_type(PyObject *module);
PyTypeObject *bus_make_segment_type(PyObject *module);
PyTypeObject *bus_make_writer_type(PyObject *module);
PyTypeObject *bus_make_pump_type(PyObject *module);
PyTypeObject *bus_make_patience_type(PyObject *module);

/* One message as it was read. */
typedef struct {
    PyObject_HEAD
    long flags;
    unsigned long long seq;
    PyObject *peer, *route, *topic, *envelope, *body, *payload;
} Record;

/* A message of `type`, which derives from Record. */
PyObject *bus_make_record(PyTypeObject *type, long flags, PyObject *peer, uint64_t seq, PyObject *route, PyObject *topic,
                          PyObject *envelope, PyObject *body);

/* Messages of `type`, if it adds nothing to a Record, are kept for the next one when they are let go. */
int bus_keep_spares(PyTypeObject *type);

/* The segment behind `object`, checked to be of `kind` (and writable, if asked); NULL with an exception set. */
Segment *bus_expect(PyObject *object, uint32_t kind, int writable);

/* Make sure that the pages of [offset, offset + length) exist, so that a store cannot raise SIGBUS. */
int bus_allocate(const Segment *segment, uint64_t offset, uint64_t length);

/* bell.c: wake whoever watches that eventfd; never waits. The GIL is held. */
void bus_wake(int fd);
int bus_is_doorbell(int fd);

#endif
