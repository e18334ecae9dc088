/* Deliver messages to the callbacks of this process.
 *
 * A callback may do anything, also close the pump: so between two callbacks nothing of the pump is used, only what the
 * caller holds. Whatever one of them raises, the others are called: what was drained is in no ring any more.
 */
#include "pump.h"

/* The first that was raised and is none of what may be told: it is raised again at the end. */
typedef struct {
    PyObject *type, *error, *traceback;
} first;

static PyObject *part(PyObject *host, enum host_part which) { return PyTuple_GetItem(host, which); }

static void keep(first *raised, PyObject *by) {
    if (raised->type == NULL) {
        PyErr_Fetch(&raised->type, &raised->error, &raised->traceback);
    } else {
        PyErr_WriteUnraisable(by);
    }
}

/* Report what a callback raised; the others are still called. */
static void report(PyObject *host, PyObject *callback, PyObject *message, first *raised) {
    if (!PyErr_ExceptionMatches(part(host, HOST_CAUGHT))) {
        keep(raised, callback);
        return;
    }
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) PyException_SetTraceback(error, traceback);
    PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FAILED), message, error, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    if (done == NULL) keep(raised, callback);
    Py_XDECREF(done);
}

static void call(PyObject *host, PyObject *callback, PyObject *message, first *raised) {
    PyObject *done = PyObject_CallFunctionObjArgs(callback, message, NULL);
    if (done == NULL) {
        report(host, callback, message, raised);
    } else {
        Py_DECREF(done);
    }
}

static void published(PyObject *host, PyObject *message, PyObject *route, first *raised) {
    Py_ssize_t count = PyTuple_Size(route);
    if (count < 0) keep(raised, route);
    if (count > FEW) {
        PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FAN_OUT), route, message, NULL);
        if (done == NULL) keep(raised, part(host, HOST_FAN_OUT));
        Py_XDECREF(done);
        return;
    }
    for (Py_ssize_t i = 0; i < count; i++) call(host, PyTuple_GetItem(route, i), message, raised);
}

static void deliver_one(PyObject *host, Record *message, first *raised) {
    if (PyUnicode_GetLength(message->topic) == 0) {
        call(host, part(host, HOST_DIRECT), (PyObject *)message, raised);
    } else if (message->route != Py_None) {
        published(host, (PyObject *)message, message->route, raised);
    } else {
        PyObject *route = PyObject_CallFunctionObjArgs(part(host, HOST_ROUTE), message->topic, NULL);
        if (route == NULL) keep(raised, part(host, HOST_ROUTE));
        if (route != NULL && route != Py_None) published(host, (PyObject *)message, route, raised);
        Py_XDECREF(route);
    }
}

/* `records`: a list of messages and nothing else, which nobody but the caller has. */
int bus_deliver(PyObject *host, PyObject *records) {
    first raised = {NULL, NULL, NULL};
    Py_ssize_t count = PyList_Size(records);
    for (Py_ssize_t i = 0; i < count; i++) deliver_one(host, (Record *)PyList_GetItem(records, i), &raised);
    if (PyDict_Size(part(host, HOST_NEWEST)) > 0) {
        PyObject *done = PyObject_CallFunctionObjArgs(part(host, HOST_FLUSH), NULL);
        if (done == NULL) keep(&raised, part(host, HOST_FLUSH));
        Py_XDECREF(done);
    }
    if (raised.type == NULL) return 0;
    PyErr_Restore(raised.type, raised.error, raised.traceback);
    return -1;
}
