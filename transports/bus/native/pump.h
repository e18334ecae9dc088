/* The reading end of one process, shared by the files that are its parts:
 *
 *     pump.c      the type, and which rings it reads
 *     drain.c     records out of rings, as messages
 *     warm.c      what those callbacks touch, into the cache, after a long sleep
 *     deliver.c   messages to the callbacks of this process
 *     sleep.c     lying down, standing up, and looking a little longer before
 *     attend.c    what the event loop calls when the bell rings: all of the above, in order
 */
#ifndef BUS_PUMP_H
#define BUS_PUMP_H

#include "native.h"
#include "patience.h"

#define TOPIC_LIMIT 256
#define WALKS 16
#define FEW 4 /* callbacks that are called from C: for more, the interpreter's own loop spares an entry into it for each */

typedef struct reader {
    unsigned int slot;
    int pair, paused;
    enum { SOUND, BROKEN_UNTOLD, BROKEN_TOLD, DETACHED } broken; /* the last: by what a collection ran while we read */
    PyObject *token;
    Segment *segment;
    const bus_ring *ring;
    const unsigned char *data;
    uint64_t capacity, largest, position, next, handled; /* largest: record, with its header */
    bus_entry *entry; /* of this reader's page, about the writer */
    /* a pair: where its writer says that it waits for room, and how to wake it */
    Segment *peer_page;
    const bus_entry *peer_entry;
    int peer_fd;
    PyObject *topic; /* of the record before: most records have the same */
    size_t topic_size;
    char topic_bytes[TOPIC_LIMIT];
    PyObject *envelope; /* of the record before: a writer's messages to a topic all have the same */
    struct reader *grave;
} reader;

/* What the pump calls, and what it looks at: a tuple that `attend` was given, in this order. */
enum host_part {
    HOST_DIRECT,    /* direct(message): it was sent to us */
    HOST_ROUTE,     /* route(topic) -> the callbacks of a topic that `routes` does not hold yet */
    HOST_FAN_OUT,   /* fan_out(callbacks, message): to many */
    HOST_NEWEST,    /* a dict; not empty after a batch: flush() is called */
    HOST_FLUSH,     /* flush() */
    HOST_CAUGHT,    /* what a callback may raise without ending more than itself */
    HOST_FAILED,    /* failed(message, error) */
    HOST_SPECIAL,   /* special(records): a batch with gaps, references or a broken ring in it */
    HOST_ENDED,     /* ended(fds): other descriptors behind the bell are ready */
    HOST_WAITING,   /* a dict; not empty: offer_room() is called */
    HOST_ROOM,      /* offer_room() */
    HOST_CALL_SOON, /* call_soon(callback), of the event loop */
    HOST_PARTS
};

typedef struct {
    PyObject_HEAD
    Segment *page_segment, *bell_segment;
    bus_page *page;
    bus_bell *bell;
    unsigned int slot;
    uint64_t bit;
    reader **readers;
    size_t count, turn;
    int draining, busy; /* readers that are detached while it is busy end in `graves`, until it is idle */
    reader *graves;
    _Atomic int looking, hurry; /* who looks for more without the GIL holds up who changes the readers; `hurry` ends that */
    uint64_t payload_limit;     /* of a payload that is accepted */
    PyObject *routes;
    PyTypeObject *message; /* what is made of a record */
    PyObject *direct;      /* the topic of what is not published: "" */
    int listening; /* whether anybody here wants broadcasts; if not, their rings are left alone */
    int cold;      /* whether it comes from a sleep so long that others had the caches */
    int special;   /* whether the last drain held anything but plain data */
    uint64_t records, skipped, lost, gaps, bytes, broken, wakes;
    /* of attend() */
    PyObject *host, *again; /* `again`: our own run() */
    Py_ssize_t batch;
    int epoll, own_fd, shard_fd;
    int soon; /* run() is in the loop's queue */
    bus_patience patience;
} Pump;

/* drain.c */
enum peek { PEEK_EMPTY, PEEK_RECORD, PEEK_LAPPED, PEEK_BROKEN };
enum peek bus_peek(const reader *r, uint64_t *position, uint64_t tail, bus_record *header);
void bus_seek_tail(reader *r);
void bus_note_gap(Pump *self, reader *r, uint64_t first, uint64_t last);
void bus_tell_waiting_writer(const reader *r);
PyObject *bus_drain(Pump *self, Py_ssize_t limit);
void bus_idle(Pump *self); /* pump.c */
PyObject *bus_replay(Pump *self, reader *r);

static inline uint64_t tail_of(const reader *r) { return atomic_load_explicit(&r->ring->tail, memory_order_acquire); }

/* deliver.c */
int bus_deliver(PyObject *host, PyObject *records);

/* warm.c */
void bus_warm(PyObject *route);

/* sleep.c */
enum look { LOOK_NOTHING, LOOK_MORE, LOOK_CROWDED };
void bus_handled(Pump *self);
int bus_pending(const Pump *self);
enum look bus_look(Pump *self, long long nanoseconds);
void bus_end_look(Pump *self);
void bus_stand_up(Pump *self);
int bus_park(Pump *self);
long long bus_now(void);

/* attend.c */
PyObject *pump_attend(PyObject *object, PyObject *args);
PyObject *pump_bell(PyObject *object, PyObject *argument);
PyObject *pump_woken(PyObject *object, PyObject *unused);
PyObject *pump_rung(PyObject *object, PyObject *unused);
PyObject *pump_run(PyObject *object, PyObject *unused);
PyObject *pump_soon(PyObject *object, PyObject *unused);
PyObject *pump_deliver(PyObject *object, PyObject *records);
int bus_soon(Pump *self);
void bus_let_go_of_host(Pump *self);

#endif
