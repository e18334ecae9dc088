/* Publish a small payload in one step: encode it, put it into the ring, make its receipt.
 *
 * Small messages to known topics are published here. All others, errors included, are left to `Bus._publish`, which says
 * what is wrong with them.
 */
#include "writer.h"

#define BUFFER 1024 /* bytes: a larger payload makes the buffer grow for the moment */

static PyObject *raw_name;

/* publishes(encode_into, receipt, encoded, small, topics, waiting): `encode_into(payload, bytearray)` makes msgpack of it; `encoded` is
 * a type whose `raw` is msgpack already; a body of more than `small` bytes goes the long way; `receipt(publisher, name, number, when)`;
 * `topics` maps a name, or a name and who sends, to (topic, envelope); while there is something in `waiting`, all goes the long way. */
PyObject *writer_publishes(PyObject *object, PyObject *args) {
    Writer *self = (Writer *)object;
    PyObject *encode_into, *receipt, *encoded, *topics, *waiting;
    Py_ssize_t small;
    if (!PyArg_ParseTuple(args, "OOOnO!O:publishes", &encode_into, &receipt, &encoded, &small, &PyDict_Type, &topics, &waiting)) return NULL;
    if (raw_name == NULL && (raw_name = PyUnicode_InternFromString("raw")) == NULL) return NULL;
    PyObject *buffer = PyByteArray_FromStringAndSize(NULL, BUFFER);
    if (buffer == NULL) return NULL;
    Py_INCREF(encode_into);
    Py_INCREF(receipt);
    Py_INCREF(encoded);
    Py_INCREF(topics);
    Py_INCREF(waiting);
    bus_let_go_of_publishing(self);
    self->encode_into = encode_into;
    self->receipt = receipt;
    self->encoded = encoded;
    self->topics = topics;
    self->waiting = waiting;
    self->buffer = buffer;
    self->small = small;
    Py_RETURN_NONE;
}

/* One message on its way: what it is published as, and for whom its receipt is. */
typedef struct {
    PyObject *publisher, *name, *topic, *envelope;
} errand;

static PyObject *receipt_of(const Writer *self, const errand *what, long long seq) {
    PyObject *number = PyLong_FromLongLong(seq), *when = PyFloat_FromDouble((double)bus_now() / 1e9);
    PyObject *receipt = NULL;
    if (number != NULL && when != NULL) receipt = PyObject_CallFunctionObjArgs(self->receipt, what->publisher, what->name, number, when, NULL);
    Py_XDECREF(number);
    Py_XDECREF(when);
    return receipt;
}

/* NULL, for the long way: with an exception set only if it is none that the long way would raise again. */
static void *the_long_way(void) {
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    return NULL;
}

/* Put a body. If it was not put, return it: the object `body` itself, or a copy of the buffer. */
static PyObject *put(Writer *self, const errand *what, PyObject *body, const char *bytes, Py_ssize_t size) {
    long long seq = size > self->small ? 0 : bus_put(self, what->topic, what->envelope, bytes, size, BUS_DATA);
    if (seq > 0) return receipt_of(self, what, seq);
    if (seq < 0) return NULL;
    if (body == NULL) return PyBytes_FromStringAndSize(bytes, size);
    Py_INCREF(body);
    return body;
}

static PyObject *put_encoded(Writer *self, const errand *what, PyObject *payload) {
    PyObject *body = PyObject_GetAttr(payload, raw_name), *done = NULL;
    if (body == NULL) return the_long_way();
    if (PyBytes_CheckExact(body)) done = put(self, what, body, PyBytes_AsString(body), PyBytes_Size(body));
    Py_DECREF(body);
    return done;
}

/* Encode and put. Encoding may call Python: a payload with properties may publish too, while the buffer is in use. */
static PyObject *encode_and_put(Writer *self, const errand *what, PyObject *payload) {
    PyObject *buffer = self->buffer, *encode_into = self->encode_into, *encoded = NULL, *done = NULL;
    if (buffer == NULL) return NULL;
    self->buffer = NULL;
    Py_INCREF(encode_into);
    if (PyByteArray_Resize(buffer, BUFFER) == 0) encoded = PyObject_CallFunctionObjArgs(encode_into, payload, buffer, NULL);
    Py_DECREF(encode_into);
    if (encoded != NULL) {
        Py_DECREF(encoded);
        done = put(self, what, NULL, PyByteArray_AsString(buffer), PyByteArray_Size(buffer));
    } else {
        the_long_way();
    }
    if (self->encode_into == NULL || self->buffer != NULL) {
        Py_DECREF(buffer); /* meanwhile it was closed, or `publishes` was called again */
    } else {
        self->buffer = buffer;
    }
    return done;
}

/* Whether the size is known before encoding. Plain bytes travel as they are, of any length. */
static int is_large(const Writer *self, PyObject *payload) {
    return PyBytes_CheckExact(payload) || (PyUnicode_CheckExact(payload) && PyUnicode_GetLength(payload) > self->small);
}

/* (topic, envelope) of a name and a sender, a new reference; NULL, for the long way, where they are not known yet. */
static PyObject *known(const Writer *self, PyObject *name, PyObject *sender) {
    PyObject *key = name, *found;
    if (PyUnicode_GetLength(sender) == 0) {
        Py_INCREF(key);
    } else if ((key = PyTuple_Pack(2, name, sender)) == NULL) {
        return the_long_way();
    }
    found = PyDict_GetItemWithError(self->topics, key);
    Py_DECREF(key);
    if (found == NULL || !PyTuple_Check(found)) return the_long_way();
    Py_INCREF(found);
    return found;
}

/* publish(publisher, name, payload, sender, envelope) -> a receipt; or, for the long way, the payload's msgpack if it was encoded, else
 * None. Without an envelope it is the name's usual one. */
PyObject *writer_publish(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Writer *self = (Writer *)object;
    if (count != 5 || self->encode_into == NULL || !PyUnicode_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "publish(publisher, name, payload, sender, envelope), after publishes()");
        return NULL;
    }
    PyObject *payload = args[2], *done = NULL, *usual = PyObject_Size(self->waiting) == 0 ? known(self, args[1], args[3]) : NULL;
    if (usual != NULL) {
        errand what = {args[0], args[1], PyTuple_GetItem(usual, 0), args[4] == Py_None ? PyTuple_GetItem(usual, 1) : args[4]};
        if ((PyObject *)Py_TYPE(payload) == self->encoded) {
            done = put_encoded(self, &what, payload);
        } else if (!is_large(self, payload)) {
            done = encode_and_put(self, &what, payload);
        }
        Py_DECREF(usual);
    }
    if (done != NULL || PyErr_Occurred()) return done;
    Py_RETURN_NONE;
}

void bus_let_go_of_publishing(Writer *self) {
    Py_CLEAR(self->encode_into);
    Py_CLEAR(self->receipt);
    Py_CLEAR(self->encoded);
    Py_CLEAR(self->topics);
    Py_CLEAR(self->waiting);
    Py_CLEAR(self->buffer);
}
