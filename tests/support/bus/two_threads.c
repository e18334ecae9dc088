/* A writer and a reader of one ring on two threads, with no lock and no interpreter between them: the C that puts records and the
 * C that reads them, as it stands, at the speed that two processes have. In one process, so that the thread sanitizer sees both.
 */
#include "writer.c"

#include "drain.c"

#include <pthread.h>
#include <stdatomic.h>

#define LARGEST 64 /* words of a body, each of which is the record's number */

typedef struct {
    Writer *writer;
    PyObject *topic, *envelope;
    uint64_t records;
    _Atomic int done;
} writing;

typedef struct {
    uint64_t taken, missed, lapped, torn, broken;
} seen;

static void *put_all(void *argument) {
    writing *w = argument;
    uint64_t body[LARGEST];
    for (uint64_t seq = 1; seq <= w->records; seq++) {
        size_t words = 1 + seq * 7 % LARGEST;
        for (size_t i = 0; i < words; i++) body[i] = seq;
        bus_put(w->writer, w->topic, w->envelope, (const char *)body, (Py_ssize_t)(words * sizeof *body), BUS_DATA);
    }
    atomic_store(&w->done, 1);
    return NULL;
}

/* The one place that reads a body while it may be written: whether all of it is that record's, is looked at afterwards. So the thread
 * sanitizer does not look at it; the test leaves out `word` of drain.c too, which reads headers the same way. */
__attribute__((noinline, no_sanitize("thread"))) static void copied(const reader *r, const bus_record *header, unsigned char *to) {
    const unsigned char *from = r->data + (r->position & (r->capacity - 1)) + sizeof *header + header->topic + header->envelope;
    for (uint32_t i = 0; i < header->body; i++) to[i] = from[i];
}

static int take(reader *r, seen *s) {
    bus_record header;
    switch (bus_peek(r, &r->position, tail_of(r), &header)) {
    case PEEK_EMPTY:
        return 0;
    case PEEK_LAPPED:
        s->lapped++;
        s->broken += !resume(r);
        return 1;
    case PEEK_BROKEN:
        s->broken++;
        return 0;
    case PEEK_RECORD:
        break;
    }
    uint64_t body[LARGEST];
    if (header.body > sizeof body || header.seq < r->next) {
        s->broken++;
        return 0;
    }
    copied(r, &header, (unsigned char *)body);
    if (passed(r, r->position)) return 1;
    for (size_t i = 0; i < header.body / sizeof *body; i++) {
        if (body[i] != header.seq) {
            s->torn++;
            break;
        }
    }
    s->missed += header.seq - r->next;
    s->taken++;
    r->next = header.seq + 1;
    r->position += header.size;
    return 1;
}

/* Put so many records and read them meanwhile. Without the GIL: `ctypes.CDLL`. */
__attribute__((visibility("default"))) void bus_two_threads(PyObject *writer, PyObject *topic, PyObject *envelope, uint64_t records,
                                                            seen *s) {
    writing w = {.writer = (Writer *)writer, .topic = topic, .envelope = envelope, .records = records};
    Segment *ring = w.writer->segment;
    reader r = {.ring = w.writer->ring, .data = w.writer->data, .capacity = ring->common.capacity, .next = 1};
    r.largest = r.capacity / 4;
    pthread_t thread;
    if (pthread_create(&thread, NULL, put_all, &w) != 0) return;
    int more = 1;
    while (!s->broken && (more || !atomic_load(&w.done))) more = take(&r, s);
    pthread_join(thread, NULL);
    while (!s->broken && take(&r, s)) {}
    s->missed += records + 1 - r.next;
}
