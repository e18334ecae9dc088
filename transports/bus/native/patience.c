/* `patience.h` as a type of its own, so that a test can hand it the time. */
#include "native.h"
#include "patience.h"

#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    bus_patience patience;
} Patience;

static PyObject *new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)kwargs;
    long long limit, least = 0;
    if (!PyArg_ParseTuple(args, "L|L:Patience", &limit, &least)) return NULL;
    Patience *self = (Patience *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) patience_begins(&self->patience, limit, least);
    return (PyObject *)self;
}

static PyObject *woken(PyObject *object, PyObject *argument) {
    long long now = PyLong_AsLongLong(argument);
    if (now == -1 && PyErr_Occurred()) return NULL;
    patience_woken(&((Patience *)object)->patience, now);
    Py_RETURN_NONE;
}

static PyObject *lasts(PyObject *object, PyObject *args) {
    long long now;
    int drained;
    if (!PyArg_ParseTuple(args, "Li:lasts", &now, &drained)) return NULL;
    return PyBool_FromLong(patience_lasts(&((Patience *)object)->patience, now, drained));
}

static PyObject *ends(PyObject *object, PyObject *argument) {
    long long now = PyLong_AsLongLong(argument);
    if (now == -1 && PyErr_Occurred()) return NULL;
    patience_ends(&((Patience *)object)->patience, now);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"woken", woken, METH_O, "woken(now): by a doorbell"},
    {"lasts", lasts, METH_VARARGS, "lasts(now, drained) -> whether to look on"},
    {"ends", ends, METH_O, "ends(now): others want this core"},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"span", T_LONGLONG, offsetof(Patience, patience.span), READONLY, "how long it stays up now"},
    {"lay_down", T_LONGLONG, offsetof(Patience, patience.lay_down), 0, "when; 0 while it is up"},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {{Py_tp_new, new}, {Py_tp_methods, methods}, {Py_tp_members, members}, {0, NULL}};

static PyType_Spec spec = {
    .name = "transports.bus._ring.Patience",
    .basicsize = sizeof(Patience),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

PyTypeObject *bus_make_patience_type(PyObject *module) { return (PyTypeObject *)PyType_FromModuleAndSpec(module, &spec, NULL); }
