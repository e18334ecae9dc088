/* The writing end of a ring, shared by the files that are its parts:
 *
 *     writer.c    the type: records into the ring, gates and bells
 *     publish.c   a payload on its way there
 */
#ifndef BUS_WRITER_H
#define BUS_WRITER_H

#include "pump.h"

typedef struct {
    long id;
    Segment *page;
    bus_entry *entry;
    int pair;
} gate;

typedef struct {
    long id;
    Segment *segment;
    _Atomic uint64_t *asleep; /* a bit mask of a shard, or the parked word of one member */
    _Atomic uint64_t *parks;  /* changes each time a member there goes to sleep */
    uint64_t mask;
    uint64_t rung_for; /* value of parks that was rung for already; private, so that a killed writer misleads nobody */
    int fd;
} bell;

typedef struct {
    PyObject_HEAD
    Segment *segment;
    bus_ring *ring;
    unsigned char *data;
    uint64_t capacity, tail, oldest, seq, allocated, room_until;
    uint64_t rung, bytes, held;
    gate *gates;
    size_t gate_count;
    bell *bells;
    size_t bell_count;
    Pump *reader; /* of this process, which no bell wakes: it reads its own ring like any other */
    /* of publish() */
    PyObject *encode_into, *receipt, *encoded, *topics, *waiting;
    PyObject *buffer; /* that payloads are encoded into; NULL while it is in use */
    Py_ssize_t small;
} Writer;

/* writer.c: the record's number; 0: a gate holds it up; -1: an exception is set. `topic` and `envelope` are bytes. */
long long bus_put(Writer *self, PyObject *topic, PyObject *envelope, const char *body, Py_ssize_t size, unsigned long flags);

/* publish.c */
PyObject *writer_publishes(PyObject *object, PyObject *args);
PyObject *writer_publish(PyObject *object, PyObject *const *args, Py_ssize_t count);
void bus_let_go_of_publishing(Writer *self);

#endif
