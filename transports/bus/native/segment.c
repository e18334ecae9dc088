/* A mapped segment: made by its owner, attached read-only by others, checked before any byte of it is trusted. */
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HUGE_PAGES 0x958458f6 /* file system of a memfd of huge pages, a read of which may end the process where none is left */
#define LOOKS 16 /* at gaps that change: a page may be one that changes for ever */

PyTypeObject *bus_segment_type;

static const char *const kind_names[] = {"nothing", "ring", "page", "bell", "large payload"};

static const char *kind_name(uint32_t kind) { return kind <= BUS_LARGE ? kind_names[kind] : "unknown"; }

int bus_allocate(const Segment *segment, uint64_t offset, uint64_t length) {
    if (segment->fd < 0) return 0;
    while (fallocate(segment->fd, 0, (off_t)offset, (off_t)length) != 0) {
        if (errno == EINTR) continue;
        PyErr_Format(PyExc_MemoryError, "no memory for %llu more bytes of a bus segment: %s",
                     (unsigned long long)length, strerror(errno));
        return -1;
    }
    return 0;
}

Segment *bus_expect(PyObject *object, uint32_t kind, int writable) {
    if (!PyObject_TypeCheck(object, bus_segment_type)) {
        PyErr_SetString(PyExc_TypeError, "a Segment is needed here");
        return NULL;
    }
    Segment *segment = (Segment *)object;
    if (segment->base == NULL) {
        PyErr_SetString(PyExc_ValueError, "the segment is closed");
        return NULL;
    }
    if (segment->common.kind != kind) {
        PyErr_Format(PyExc_ValueError, "a %s segment is needed here, this is a %s", kind_name(kind), kind_name(segment->common.kind));
        return NULL;
    }
    if (writable && !segment->writable) {
        PyErr_SetString(PyExc_ValueError, "the segment is mapped read-only");
        return NULL;
    }
    return segment;
}

static Segment *map_segment(PyTypeObject *type, int fd, size_t size, int writable) {
    void *base = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        return NULL;
    }
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Segment *self = (Segment *)alloc(type, 0);
    if (self == NULL) {
        munmap(base, size);
        return NULL;
    }
    self->base = base;
    self->size = size;
    self->writable = writable;
    self->fd = -1;
    return self;
}

static PyObject *segment_make(PyObject *cls, PyObject *args) {
    int fd;
    unsigned int kind, owner;
    unsigned long long capacity, uid;
    if (!PyArg_ParseTuple(args, "iIKKI:make", &fd, &kind, &capacity, &uid, &owner)) return NULL;
    if (kind < BUS_RING || kind > BUS_LARGE || owner >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such kind of segment, or an owner beyond the slots");
        return NULL;
    }
    if (kind == BUS_RING && (capacity < 4096 || (capacity & (capacity - 1)))) {
        PyErr_SetString(PyExc_ValueError, "the capacity of a ring is a power of two, 4096 or more");
        return NULL;
    }
    struct stat info;
    if (fstat(fd, &info) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    if ((unsigned long long)info.st_size < capacity + BUS_HEADER || info.st_size < (off_t)BUS_HEADER) {
        PyErr_SetString(PyExc_ValueError, "the file is smaller than the segment");
        return NULL;
    }
    Segment *self = map_segment((PyTypeObject *)cls, fd, (size_t)info.st_size, 1);
    if (self == NULL) return NULL;
    self->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (self->fd < 0) {
        Py_DECREF((PyObject *)self);
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (bus_allocate(self, 0, BUS_HEADER) < 0) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    self->common = (bus_common){.magic = BUS_MAGIC, .version = BUS_LAYOUT_VERSION, .kind = kind, .capacity = capacity, .uid = uid, .owner = owner};
    bus_common unnamed = self->common;
    unnamed.magic = 0;
    memcpy(self->base, &unnamed, sizeof unnamed);
    atomic_thread_fence(memory_order_release);
    ((bus_common *)self->base)->magic = BUS_MAGIC;
    return (PyObject *)self;
}

/* The caller checks seals; here the header is checked against the file before anything else reads it. */
static PyObject *segment_attach(PyObject *cls, PyObject *args) {
    int fd, writable;
    unsigned int kind;
    if (!PyArg_ParseTuple(args, "iIp:attach", &fd, &kind, &writable)) return NULL;
    struct stat info;
    if (fstat(fd, &info) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    struct statfs system;
    if (fstatfs(fd, &system) != 0) return PyErr_SetFromErrno(PyExc_OSError);
    if (info.st_size < (off_t)BUS_HEADER) {
        PyErr_Format(PyExc_ValueError, "not a segment of a bus: %lld bytes", (long long)info.st_size);
        return NULL;
    }
    if ((unsigned long)system.f_type == HUGE_PAGES) {
        PyErr_SetString(PyExc_ValueError, "not a segment of a bus: huge pages");
        return NULL;
    }
    Segment *self = map_segment((PyTypeObject *)cls, fd, (size_t)info.st_size, writable);
    if (self == NULL) return NULL;
    if (kind == BUS_BELL) { /* any member may have written to its header; the registry, which hands it out, answers for the layout */
        self->common = (bus_common){.magic = BUS_MAGIC, .version = BUS_LAYOUT_VERSION, .kind = BUS_BELL};
    } else {
        memcpy(&self->common, self->base, sizeof self->common);
    }
    const bus_common common = self->common;
    if (common.magic != BUS_MAGIC) {
        PyErr_SetString(PyExc_ValueError, "not a segment of a bus: the magic is wrong");
    } else if (common.version != BUS_LAYOUT_VERSION) {
        PyErr_Format(PyExc_ValueError, "the segment has memory layout %u, this build reads %u: use one version of three-mode on a bus",
                     common.version, BUS_LAYOUT_VERSION);
    } else if (common.kind != kind) {
        PyErr_Format(PyExc_ValueError, "expected a %s segment, got a %s", kind_name(kind), kind_name(common.kind));
    } else if (common.capacity > self->size - BUS_HEADER || common.owner >= BUS_SLOTS ||
               (kind == BUS_RING && (common.capacity < 4096 || (common.capacity & (common.capacity - 1)))) ||
               (kind == BUS_PAGE && self->size < sizeof(bus_page))) {
        PyErr_SetString(PyExc_ValueError, "the segment's header contradicts its size");
    } else {
        return (PyObject *)self;
    }
    Py_DECREF((PyObject *)self);
    return NULL;
}

static void segment_unmap(Segment *self) {
    if (self->base != NULL) munmap(self->base, self->size);
    if (self->fd >= 0) close(self->fd);
    self->base = NULL;
    self->fd = -1;
}

static void segment_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    segment_unmap((Segment *)object);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* done(): its owner writes no more; the mapping stays for readers in this process. */
static PyObject *segment_done(PyObject *object, PyObject *unused) {
    (void)unused;
    Segment *self = (Segment *)object;
    if (self->fd >= 0) close(self->fd);
    self->fd = -1;
    Py_RETURN_NONE;
}

static bus_large *large_of(PyObject *object, int writable) {
    Segment *segment = bus_expect(object, BUS_LARGE, writable);
    return segment == NULL ? NULL : (bus_large *)segment->base;
}

/* fill(prefix, payload) -> generation: the one copy on the writer's side. */
static PyObject *segment_fill(PyObject *object, PyObject *args) {
    Py_buffer payload;
    if (!PyArg_ParseTuple(args, "y*:fill", &payload)) return NULL;
    bus_large *large = large_of(object, 1);
    PyObject *result = NULL;
    Segment *self = (Segment *)object;
    if (large == NULL) goto out;
    if ((uint64_t)payload.len > self->common.capacity) {
        PyErr_SetString(PyExc_ValueError, "the payload is larger than the segment");
        goto out;
    }
    if ((uint64_t)payload.len > self->filled) { /* asking again costs as much as the copy: the kernel looks at each page */
        if (bus_allocate(self, BUS_HEADER, (uint64_t)payload.len) < 0) goto out;
        self->filled = (uint64_t)payload.len;
    }
    uint64_t generation = atomic_load_explicit(&large->generation, memory_order_relaxed);
    generation += 1 + (generation & 1);
    atomic_store_explicit(&large->generation, generation, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    Py_BEGIN_ALLOW_THREADS
    memcpy(self->base + BUS_HEADER, payload.buf, (size_t)payload.len);
    Py_END_ALLOW_THREADS
    atomic_store_explicit(&large->generation, generation + 1, memory_order_release);
    result = PyLong_FromUnsignedLongLong(generation + 1);
out:
    PyBuffer_Release(&payload);
    return result;
}

/* copy(generation, length) -> bytes, or None if the owner has re-used the segment meanwhile: the one copy on the reader's side. */
static PyObject *segment_copy(PyObject *object, PyObject *args) {
    unsigned long long generation, length;
    if (!PyArg_ParseTuple(args, "KK:copy", &generation, &length)) return NULL;
    bus_large *large = large_of(object, 0);
    if (large == NULL) return NULL;
    Segment *self = (Segment *)object;
    if (length > self->common.capacity) {
        PyErr_SetString(PyExc_ValueError, "a reference beyond the end of its segment");
        return NULL;
    }
    if (atomic_load_explicit(&large->generation, memory_order_acquire) != generation) Py_RETURN_NONE;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (bytes == NULL) return NULL;
    char *to = PyBytes_AsString(bytes);
    Py_BEGIN_ALLOW_THREADS
    memcpy(to, self->base + BUS_HEADER, (size_t)length);
    Py_END_ALLOW_THREADS
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&large->generation, memory_order_relaxed) != generation) {
        Py_DECREF(bytes);
        Py_RETURN_NONE;
    }
    return bytes;
}

/* The last gaps of an entry, at most BUS_LISTED, and how many there were in all; -1: the owner notes one after another just now.
 *
 * The owner writes the next gap over the oldest one, which is why that is never listed, and counts it afterwards: what was
 * read while the count changed is read again. */
static int gaps_of(const bus_entry *entry, uint64_t *gaps, uint64_t found[BUS_LISTED][2]) {
    for (int look = 0; look < LOOKS; look++) {
        *gaps = atomic_load_explicit(&entry->gaps, memory_order_acquire);
        int listed = *gaps > BUS_LISTED ? BUS_LISTED : (int)*gaps;
        for (int i = 0; i < listed; i++) {
            uint64_t place = (*gaps - (uint64_t)(listed - i)) % BUS_GAPS;
            found[i][0] = atomic_load_explicit(&entry->gap[place].first, memory_order_relaxed);
            found[i][1] = atomic_load_explicit(&entry->gap[place].last, memory_order_relaxed);
        }
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&entry->gaps, memory_order_relaxed) == *gaps) return listed;
    }
    return -1;
}

/* entry(slot) -> what the page's owner says about the member in that slot.
 *
 * The order counts. First come the rings that the words are about: an owner that reads another ring from now on clears the words
 * before it says so. Then how far it is, and then the gaps: that of a message that counts as handled is there by then. */
static PyObject *segment_entry(PyObject *object, PyObject *args) {
    unsigned int slot;
    if (!PyArg_ParseTuple(args, "I:entry", &slot)) return NULL;
    Segment *segment = bus_expect(object, BUS_PAGE, 0);
    if (segment == NULL) return NULL;
    if (slot >= BUS_SLOTS) {
        PyErr_SetString(PyExc_ValueError, "no such slot");
        return NULL;
    }
    const bus_entry *entry = &((bus_page *)segment->base)->entry[slot];
    unsigned long long ring = atomic_load_explicit(&entry->ring, memory_order_acquire);
    unsigned long long pair = atomic_load_explicit(&entry->pair, memory_order_acquire);
    unsigned long long position = atomic_load_explicit(&entry->position, memory_order_acquire);
    unsigned long long handled = atomic_load_explicit(&entry->handled, memory_order_acquire);
    unsigned long long released = atomic_load_explicit(&entry->released, memory_order_acquire);
    unsigned long long pair_released = atomic_load_explicit(&entry->pair_released, memory_order_acquire);
    uint64_t gaps, found[BUS_LISTED][2];
    int listed = gaps_of(entry, &gaps, found);
    unsigned long long lost = atomic_load_explicit(&entry->lost, memory_order_relaxed);
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < listed; i++) {
        PyObject *gap = Py_BuildValue("KK", (unsigned long long)found[i][0], (unsigned long long)found[i][1]);
        if (gap == NULL || PyList_Append(list, gap) < 0) Py_CLEAR(list);
        Py_XDECREF(gap);
    }
    if (list == NULL) return NULL;
    return Py_BuildValue("KKKKKNKKK", ring, position, handled, lost, (unsigned long long)gaps, list, released, pair, pair_released);
}

/* wake_bit(index): forget that a member of this shard slept; the registry calls it when the slot is free again. */
static PyObject *segment_forget_sleeper(PyObject *object, PyObject *args) {
    unsigned int index;
    if (!PyArg_ParseTuple(args, "I:forget_sleeper", &index)) return NULL;
    Segment *segment = bus_expect(object, BUS_BELL, 1);
    if (segment == NULL) return NULL;
    atomic_fetch_and(&((bus_bell *)segment->base)->sleepers, ~(UINT64_C(1) << (index % BUS_SHARD)));
    Py_RETURN_NONE;
}

static PyObject *segment_get_uid(PyObject *object, void *closure) {
    (void)closure;
    Segment *self = (Segment *)object;
    return PyLong_FromUnsignedLongLong(self->common.uid);
}

static PyObject *segment_get_owner(PyObject *object, void *closure) {
    (void)closure;
    Segment *self = (Segment *)object;
    return PyLong_FromUnsignedLong(self->common.owner);
}

/* of a page: the nanoseconds that its owner stays up after each message */
static PyObject *segment_get_spin(PyObject *object, void *closure) {
    (void)closure;
    Segment *segment = bus_expect(object, BUS_PAGE, 0);
    if (segment == NULL) return NULL;
    return PyLong_FromUnsignedLongLong(atomic_load_explicit(&((bus_page *)segment->base)->spin, memory_order_relaxed));
}

static PyObject *segment_get_capacity(PyObject *object, void *closure) {
    (void)closure;
    Segment *self = (Segment *)object;
    return PyLong_FromUnsignedLongLong(self->common.capacity);
}

static PyMethodDef segment_methods[] = {
    {"make", segment_make, METH_VARARGS | METH_CLASS, "make(fd, kind, capacity, uid, owner) -> a segment of one's own"},
    {"attach", segment_attach, METH_VARARGS | METH_CLASS, "attach(fd, kind, writable) -> another's segment, checked"},
    {"done", segment_done, METH_NOARGS, "done(): let go of the descriptor"},
    {"fill", segment_fill, METH_VARARGS, "fill(payload) -> generation"},
    {"copy", segment_copy, METH_VARARGS, "copy(generation, length) -> bytes or None"},
    {"entry", segment_entry, METH_VARARGS,
     "entry(slot) -> (ring, position, handled, lost, gap count, last gaps, released, pair, pair_released)"},
    {"forget_sleeper", segment_forget_sleeper, METH_VARARGS, "forget_sleeper(index)"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef segment_getset[] = {
    {"uid", segment_get_uid, NULL, "uid of the segment", NULL},
    {"owner", segment_get_owner, NULL, "slot of its owner", NULL},
    {"capacity", segment_get_capacity, NULL, "bytes after the header", NULL},
    {"spin", segment_get_spin, NULL, "of a page: nanoseconds that its owner stays up after each message", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot segment_slots[] = {
    {Py_tp_dealloc, segment_dealloc},
    {Py_tp_methods, segment_methods},
    {Py_tp_getset, segment_getset},
    {0, NULL},
};

static PyType_Spec segment_spec = {
    .name = "transports.bus._ring.Segment",
    .basicsize = sizeof(Segment),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = segment_slots,
};

PyTypeObject *bus_make_segment_type(PyObject *module) {
    bus_segment_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &segment_spec, NULL);
    return bus_segment_type;
}
