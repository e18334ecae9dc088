/* A payload on its way into the ring: encoded, put, and a receipt for it, in one step.
 *
 * Only what is small and usual is done here. Whatever is not, an error included, goes the long way (`Bus.publish`), which
 * says what is wrong with it.
 */
#include "writer.h"

#define DESK 1024 /* bytes: what does not fit has it grow for the moment */

static PyObject *raw_name;

/* publishes(encode_into, receipt, encoded, small): `encode_into(payload, bytearray)` makes msgpack of it; `encoded` is a type whose
 * `raw` is msgpack already; a body of more than `small` bytes goes the long way; `receipt(publisher, name, number, when)`. */
PyObject *writer_publishes(PyObject *object, PyObject *args) {
    Writer *self = (Writer *)object;
    PyObject *encode_into, *receipt, *encoded;
    Py_ssize_t small;
    if (!PyArg_ParseTuple(args, "OOOn:publishes", &encode_into, &receipt, &encoded, &small)) return NULL;
    if (raw_name == NULL && (raw_name = PyUnicode_InternFromString("raw")) == NULL) return NULL;
    PyObject *desk = PyByteArray_FromStringAndSize(NULL, DESK);
    if (desk == NULL) return NULL;
    Py_INCREF(encode_into);
    Py_INCREF(receipt);
    Py_INCREF(encoded);
    bus_let_go_of_publishing(self);
    self->encode_into = encode_into;
    self->receipt = receipt;
    self->encoded = encoded;
    self->desk = desk;
    self->small = small;
    Py_RETURN_NONE;
}

static PyObject *receipt_of(const Writer *self, PyObject *publisher, PyObject *name, long long seq) {
    PyObject *number = PyLong_FromLongLong(seq), *when = PyFloat_FromDouble((double)bus_now() / 1e9);
    PyObject *receipt = NULL;
    if (number != NULL && when != NULL) receipt = PyObject_CallFunctionObjArgs(self->receipt, publisher, name, number, when, NULL);
    Py_XDECREF(number);
    Py_XDECREF(when);
    return receipt;
}

/* NULL, for the long way: with an exception set only if it is none that the long way would raise again. */
static void *the_long_way(void) {
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    return NULL;
}

/* `args` as of publish(). `body`, where it is an object, is given back if it was not put; what lies on the desk as a copy. */
static PyObject *put(Writer *self, PyObject *const *args, PyObject *body, const char *bytes, Py_ssize_t size) {
    long long seq = size > self->small ? 0 : bus_put(self, args[2], args[3], bytes, size, BUS_DATA);
    if (seq > 0) return receipt_of(self, args[0], args[1], seq);
    if (seq < 0) return NULL;
    if (body == NULL) return PyBytes_FromStringAndSize(bytes, size);
    Py_INCREF(body);
    return body;
}

static PyObject *put_encoded(Writer *self, PyObject *const *args) {
    PyObject *body = PyObject_GetAttr(args[4], raw_name), *done = NULL;
    if (body == NULL) return the_long_way();
    if (PyBytes_CheckExact(body)) done = put(self, args, body, PyBytes_AsString(body), PyBytes_Size(body));
    Py_DECREF(body);
    return done;
}

/* Encoding may call back: a payload with properties of its own may publish too, and finds the desk taken. */
static PyObject *encode_and_put(Writer *self, PyObject *const *args) {
    PyObject *desk = self->desk, *encode_into = self->encode_into, *encoded = NULL, *done = NULL;
    if (desk == NULL) return NULL;
    self->desk = NULL;
    Py_INCREF(encode_into);
    if (PyByteArray_Resize(desk, DESK) == 0) encoded = PyObject_CallFunctionObjArgs(encode_into, args[4], desk, NULL);
    Py_DECREF(encode_into);
    if (encoded != NULL) {
        Py_DECREF(encoded);
        done = put(self, args, NULL, PyByteArray_AsString(desk), PyByteArray_Size(desk));
    } else {
        the_long_way();
    }
    if (self->encode_into == NULL || self->desk != NULL) {
        Py_DECREF(desk); /* meanwhile it was closed, or told to publish otherwise */
    } else {
        self->desk = desk;
    }
    return done;
}

/* Whether it is known before it is encoded. Plain bytes travel as they are, whatever their number. */
static int is_large(const Writer *self, PyObject *payload) {
    return PyBytes_CheckExact(payload) || (PyUnicode_CheckExact(payload) && PyUnicode_GetLength(payload) > self->small);
}

/* publish(publisher, name, topic, envelope, payload) -> a receipt; or, for the long way, its body if it is encoded already, else None. */
PyObject *writer_publish(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Writer *self = (Writer *)object;
    if (count != 5 || self->encode_into == NULL) {
        PyErr_SetString(PyExc_TypeError, "publish(publisher, name, topic, envelope, payload), after publishes()");
        return NULL;
    }
    PyObject *done = NULL;
    if ((PyObject *)Py_TYPE(args[4]) == self->encoded) {
        done = put_encoded(self, args);
    } else if (!is_large(self, args[4])) {
        done = encode_and_put(self, args);
    }
    if (done != NULL || PyErr_Occurred()) return done;
    Py_RETURN_NONE;
}

void bus_let_go_of_publishing(Writer *self) {
    Py_CLEAR(self->encode_into);
    Py_CLEAR(self->receipt);
    Py_CLEAR(self->encoded);
    Py_CLEAR(self->desk);
}
