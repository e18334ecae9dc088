/* msgpack to Python, for what nearly all payloads are made of: nil, bool, numbers, text, bytes, lists, and maps with keys of
 * text. Whatever else a body holds, or if there is anything wrong with it, the whole of it goes to the decoder that
 * stands behind: so what is refused, and in which words, is said in one place, and that is not here.
 *
 * What makes it quick is that the keys of maps are few, and come again and again in the same order: they are kept.
 */
#include "native.h"

#include <string.h>

#define DEPTH 32
#define KEYS 512 /* kept, by a hash of their bytes; a new one takes the place of the old */
#define KEY_LIMIT 40

typedef struct {
    const unsigned char *at, *end;
    int depth;
} source;

typedef struct known_key {
    PyObject *text;
    struct known_key *next; /* what came after it the last time */
    size_t size;
    char bytes[KEY_LIMIT];
} known_key;

static known_key keys[KEYS], start; /* guarded by the GIL, like the rest */

/* Each of these gives NULL without an exception for what is not for us, and with one if there is no memory. */
static PyObject *value(source *s);

static inline int has(const source *s, uint64_t bytes) { return (uint64_t)(s->end - s->at) >= bytes; }

/* A big-endian number of `bytes` bytes; they are there. */
static inline uint64_t number(source *s, int bytes) {
    uint64_t read = 0;
    for (int i = 0; i < bytes; i++) read = read << 8 | s->at[i];
    s->at += bytes;
    return read;
}

static PyObject *text(source *s, uint64_t size) {
    if (!has(s, size)) return NULL;
    PyObject *found = PyUnicode_DecodeUTF8((const char *)s->at, (Py_ssize_t)size, NULL);
    s->at += size;
    if (found == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) PyErr_Clear();
    return found;
}

static PyObject *bytes(source *s, uint64_t size) {
    if (!has(s, size)) return NULL;
    PyObject *found = PyBytes_FromStringAndSize((const char *)s->at, (Py_ssize_t)size);
    s->at += size;
    return found;
}

static inline int is(const known_key *known, const char *from, uint64_t size) {
    return known->size == size && memcmp(known->bytes, from, size) == 0;
}

/* The key that comes after `*before` in a map; borrowed from those that are kept. */
static PyObject *short_key(source *s, uint64_t size, known_key **before) {
    const char *from = (const char *)s->at;
    known_key *known = (*before)->next;
    if (known == NULL || !is(known, from, size)) {
        uint64_t hash = size;
        for (uint64_t i = 0; i < size; i++) hash = hash * 31 + (unsigned char)from[i];
        known = &keys[(hash ^ hash >> 9) % KEYS];
        if (!is(known, from, size)) {
            PyObject *found = text(s, size);
            if (found == NULL) return NULL;
            Py_XDECREF(known->text);
            known->text = found;
            known->size = size;
            memcpy(known->bytes, from, size);
            s->at -= size;
        }
        (*before)->next = known;
    }
    s->at += size;
    *before = known;
    Py_INCREF(known->text);
    return known->text;
}

static PyObject *key(source *s, known_key **before) {
    if (!has(s, 2)) return NULL;
    unsigned char first = *s->at++;
    uint64_t size = first & 0x1f;
    if (first == 0xd9) {
        size = number(s, 1);
    } else if ((first & 0xe0) != 0xa0) {
        return NULL;
    }
    return 0 < size && size <= KEY_LIMIT && has(s, size) ? short_key(s, size, before) : text(s, size);
}

static PyObject *map(source *s, uint64_t size) {
    if (s->depth == DEPTH || !has(s, 2 * size)) return NULL;
    PyObject *dict = PyDict_New();
    if (dict == NULL) return NULL;
    s->depth++;
    known_key *before = &start;
    for (uint64_t i = 0; i < size; i++) {
        PyObject *name = key(s, &before), *item = name == NULL ? NULL : value(s);
        int failed = item == NULL || PyDict_SetItem(dict, name, item) < 0;
        Py_XDECREF(name);
        Py_XDECREF(item);
        if (failed) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    s->depth--;
    return dict;
}

static PyObject *array(source *s, uint64_t size) {
    if (s->depth == DEPTH || !has(s, size)) return NULL;
    PyObject *list = PyList_New((Py_ssize_t)size);
    if (list == NULL) return NULL;
    s->depth++;
    for (uint64_t i = 0; i < size; i++) {
        PyObject *item = value(s);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    s->depth--;
    return list;
}

static PyObject *single(source *s) {
    uint32_t bits = (uint32_t)number(s, 4);
    float read;
    memcpy(&read, &bits, sizeof read);
    return PyFloat_FromDouble(read);
}

static PyObject *twice(source *s) {
    uint64_t bits = number(s, 8);
    double read;
    memcpy(&read, &bits, sizeof read);
    return PyFloat_FromDouble(read);
}

static PyObject *same(PyObject *object) {
    Py_INCREF(object);
    return object;
}

static PyObject *value(source *s) {
    if (!has(s, 1)) return NULL;
    unsigned char first = *s->at++;
    if (first < 0x80) return PyLong_FromLong(first);
    if (first >= 0xe0) return PyLong_FromLong((signed char)first);
    if (first < 0x90) return map(s, first & 0x0f);
    if (first < 0xa0) return array(s, first & 0x0f);
    if (first < 0xc0) return text(s, first & 0x1f);
    static const unsigned char more[32] = {/* bytes that follow the first and belong to it, from 0xc0 on */
                                           0, 0, 0, 0, 1, 2, 4, 0, 0, 0, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4};
    int follow = more[first - 0xc0];
    if (!has(s, (uint64_t)follow)) return NULL;
    switch (first) {
        case 0xc0: return same(Py_None);
        case 0xc2: return same(Py_False);
        case 0xc3: return same(Py_True);
        case 0xc4: case 0xc5: case 0xc6: return bytes(s, number(s, follow));
        case 0xca: return single(s);
        case 0xcb: return twice(s);
        case 0xcc: case 0xcd: case 0xce: case 0xcf: return PyLong_FromUnsignedLongLong(number(s, follow));
        case 0xd0: return PyLong_FromLong((int8_t)number(s, 1));
        case 0xd1: return PyLong_FromLong((int16_t)number(s, 2));
        case 0xd2: return PyLong_FromLong((int32_t)number(s, 4));
        case 0xd3: return PyLong_FromLongLong((int64_t)number(s, 8));
        case 0xd9: case 0xda: case 0xdb: return text(s, number(s, follow));
        case 0xdc: case 0xdd: return array(s, number(s, follow));
        case 0xde: case 0xdf: return map(s, number(s, follow));
        default: return NULL;
    }
}

PyObject *bus_unpack(PyObject *otherwise, PyObject *body) {
    if (PyBytes_Check(body)) {
        const unsigned char *from = (const unsigned char *)PyBytes_AsString(body);
        source s = {.at = from, .end = from + PyBytes_Size(body), .depth = 0};
        PyObject *found = value(&s);
        if (found != NULL && s.at == s.end) return found;
        Py_XDECREF(found);
        if (PyErr_Occurred()) return NULL;
    }
    return PyObject_CallFunctionObjArgs(otherwise, body, NULL);
}

static PyMethodDef unpack = {"unpack", bus_unpack, METH_O, "unpack(body) -> the value"};

/* unpacker(otherwise) -> unpack(body), which leaves to `otherwise` what it does not know. */
PyObject *bus_unpacker(PyObject *module, PyObject *otherwise) {
    (void)module;
    if (!PyCallable_Check(otherwise)) {
        PyErr_SetString(PyExc_TypeError, "unpacker(otherwise) takes a callable");
        return NULL;
    }
    return PyCFunction_New(&unpack, otherwise);
}
