/* Whether a value is plain data: what msgpack itself carries, so that it arrives as it went. */
#include "native.h"

static int is_plain(PyObject *value);

static int plain_items(PyObject *list) {
    Py_ssize_t size = PyList_Size(list);
    for (Py_ssize_t i = 0; i < size; i++) {
        if (!is_plain(PyList_GetItem(list, i))) return 0;
    }
    return 1;
}

static int plain_entries(PyObject *dict) {
    PyObject *key, *item;
    Py_ssize_t position = 0;
    while (PyDict_Next(dict, &position, &key, &item)) {
        if (!is_plain(key) || !is_plain(item)) return 0;
    }
    return 1;
}

/* No Python code runs on the way, so that the containers stay as they are. A container without an end is not plain. */
static int is_plain(PyObject *value) {
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type || type == &PyBytes_Type ||
        type == &PyBool_Type || value == Py_None)
        return 1;
    if (type != &PyList_Type && type != &PyDict_Type) return 0;
    if (Py_EnterRecursiveCall(" in a value")) {
        PyErr_Clear();
        return 0;
    }
    int plain = type == &PyList_Type ? plain_items(value) : plain_entries(value);
    Py_LeaveRecursiveCall();
    return plain;
}

PyObject *bus_is_plain(PyObject *module, PyObject *value) {
    (void)module;
    return PyBool_FromLong(is_plain(value));
}
