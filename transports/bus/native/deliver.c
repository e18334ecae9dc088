/* Deliver messages to the callbacks of this process.
 *
 * A callback may do anything, also close the pump: so between two callbacks nothing of the pump is used, only what the
 * caller holds.
 */
#include "pump.h"

#define FEW 4 /* callbacks that are called from here: for more, the interpreter's own loop spares an entry into it for each */

static PyObject *part(PyObject *host, enum host_part which) { return PyTuple_GetItem(host, which); }

/* Report what a callback raised; the others are still called. -1: it is not among what is caught. */
static int report(PyObject *host, PyObject *message) {
    if (!PyErr_ExceptionMatches(part(host, HOST_CAUGHT))) return -1;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) PyException_SetTraceback(error, traceback);
    PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FAILED), message, error, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    if (done == NULL) return -1;
    Py_DECREF(done);
    return 0;
}

static int call(PyObject *host, PyObject *callback, PyObject *message) {
    PyObject *done = PyObject_CallFunctionObjArgs(callback, message, NULL);
    if (done == NULL) return report(host, message);
    Py_DECREF(done);
    return 0;
}

static int published(PyObject *host, PyObject *message, PyObject *route) {
    Py_ssize_t count = PyTuple_Size(route);
    if (count < 0) return -1;
    if (count > FEW) {
        PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FAN_OUT), route, message, NULL);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (call(host, PyTuple_GetItem(route, i), message) < 0) return -1;
    }
    return 0;
}

static int deliver_one(PyObject *host, Record *message) {
    if (PyUnicode_GetLength(message->topic) == 0) return call(host, part(host, HOST_DIRECT), (PyObject *)message);
    if (message->route != Py_None) return published(host, (PyObject *)message, message->route);
    PyObject *route = PyObject_CallFunctionObjArgs(part(host, HOST_ROUTE), message->topic, NULL);
    if (route == NULL) return -1;
    int result = route == Py_None ? 0 : published(host, (PyObject *)message, route);
    Py_DECREF(route);
    return result;
}

/* `records`: a list of messages and nothing else. */
int bus_deliver(PyObject *host, PyObject *records) {
    Py_ssize_t count = PyList_Size(records);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (deliver_one(host, (Record *)PyList_GetItem(records, i)) < 0) return -1;
    }
    if (PyDict_Size(part(host, HOST_NEWEST)) > 0) {
        PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FLUSH), NULL);
        if (done == NULL) return -1;
        Py_DECREF(done);
    }
    return 0;
}
