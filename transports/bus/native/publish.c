/* A payload on its way into the ring: encoded, put, and a receipt for it, in one step.
 *
 * Only what is small and usual is done here. Whatever is not, an error included, goes the long way (`Bus.publish`), which
 * says what is wrong with it.
 */
#include "writer.h"

static PyObject *raw_name;

/* publishes(encode, receipt, encoded, small): `encode(payload)` makes msgpack of it; `encoded` is a type whose `raw` is msgpack
 * already; a body of more than `small` bytes goes the long way; `receipt(publisher, name, number, when)`. */
PyObject *writer_publishes(PyObject *object, PyObject *args) {
    Writer *self = (Writer *)object;
    PyObject *encode, *receipt, *encoded;
    Py_ssize_t small;
    if (!PyArg_ParseTuple(args, "OOOn:publishes", &encode, &receipt, &encoded, &small)) return NULL;
    if (raw_name == NULL && (raw_name = PyUnicode_InternFromString("raw")) == NULL) return NULL;
    Py_INCREF(encode);
    Py_INCREF(receipt);
    Py_INCREF(encoded);
    bus_let_go_of_publishing(self);
    self->encode = encode;
    self->receipt = receipt;
    self->encoded = encoded;
    self->small = small;
    Py_RETURN_NONE;
}

/* The msgpack of a payload; NULL without an exception: that is for the long way. */
static PyObject *body_of(const Writer *self, PyObject *payload) {
    PyObject *body;
    if (PyBytes_CheckExact(payload)) return NULL; /* travels as it is */
    if ((PyObject *)Py_TYPE(payload) == self->encoded) {
        body = PyObject_GetAttr(payload, raw_name);
    } else {
        body = PyObject_CallFunctionObjArgs(self->encode, payload, NULL);
    }
    if (body == NULL && PyErr_ExceptionMatches(PyExc_Exception)) PyErr_Clear();
    if (body != NULL && !PyBytes_CheckExact(body)) Py_CLEAR(body);
    return body;
}

static PyObject *receipt_of(const Writer *self, PyObject *publisher, PyObject *name, long long seq) {
    PyObject *number = PyLong_FromLongLong(seq), *when = PyFloat_FromDouble((double)bus_now() / 1e9);
    PyObject *receipt = NULL;
    if (number != NULL && when != NULL) receipt = PyObject_CallFunctionObjArgs(self->receipt, publisher, name, number, when, NULL);
    Py_XDECREF(number);
    Py_XDECREF(when);
    return receipt;
}

/* publish(publisher, name, topic, envelope, payload) -> a receipt; or, for the long way, its body if it is encoded already, else None. */
PyObject *writer_publish(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    Writer *self = (Writer *)object;
    if (count != 5 || self->encode == NULL) {
        PyErr_SetString(PyExc_TypeError, "publish(publisher, name, topic, envelope, payload), after publishes()");
        return NULL;
    }
    PyObject *body = body_of(self, args[4]);
    if (body == NULL) {
        if (PyErr_Occurred()) return NULL;
        Py_RETURN_NONE;
    }
    long long seq = PyBytes_Size(body) > self->small ? 0 : bus_put(self, args[2], args[3], body, BUS_DATA);
    if (seq == 0) return body;
    Py_DECREF(body);
    return seq < 0 ? NULL : receipt_of(self, args[0], args[1], seq);
}

void bus_let_go_of_publishing(Writer *self) {
    Py_CLEAR(self->encode);
    Py_CLEAR(self->receipt);
    Py_CLEAR(self->encoded);
}
