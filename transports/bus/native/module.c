/* The extension module `transports.bus._ring`: five types, a few constants, and the failpoints. */
#include "native.h"

#include <signal.h>
#include <unistd.h>

int bus_failpoint = STEP_NONE;
static int failpoint_signal = SIGKILL;
static long failpoint_after = 0;

void bus_fail(void) {
    if (failpoint_after-- > 0) return;
    bus_failpoint = STEP_NONE;
    kill(getpid(), failpoint_signal);
}

static const char *const step_names[STEP_COUNT] = {
    "none",        "put_start",   "put_oldest_stored", "put_half_copied",       "put_copied", "put_tail_stored",
    "put_rung",    "drain_start", "drain_copied",      "drain_position_stored", "park_said",
};

/* failpoint(step, signal, after): raise `signal` in this process when the step is reached for the time after `after`. */
static PyObject *module_failpoint(PyObject *module, PyObject *args) {
    (void)module;
    const char *name;
    int number;
    long after = 0;
    if (!PyArg_ParseTuple(args, "si|l:failpoint", &name, &number, &after)) return NULL;
    for (int step = 0; step < STEP_COUNT; step++) {
        if (PyOS_stricmp(step_names[step], name) != 0) continue;
        failpoint_signal = number;
        failpoint_after = after;
        bus_failpoint = step;
        Py_RETURN_NONE;
    }
    PyErr_Format(PyExc_ValueError, "no step is called %s", name);
    return NULL;
}

/* ring(fd): wake whoever watches that eventfd. Never waits, whatever others did to it. */
static PyObject *module_ring(PyObject *module, PyObject *argument) {
    (void)module;
    int fd = PyObject_AsFileDescriptor(argument);
    if (fd < 0) return NULL;
    bus_wake(fd);
    Py_RETURN_NONE;
}

static PyObject *module_is_doorbell(PyObject *module, PyObject *argument) {
    (void)module;
    int fd = PyObject_AsFileDescriptor(argument);
    if (fd < 0) return NULL;
    return PyBool_FromLong(bus_is_doorbell(fd));
}

static PyMethodDef module_methods[] = {
    {"ring", module_ring, METH_O, "ring(fd): wake whoever watches that eventfd; never waits"},
    {"is_doorbell", module_is_doorbell, METH_O, "is_doorbell(fd) -> whether it is an eventfd, which ring() can ring"},
    {"is_plain", bus_is_plain, METH_O, "is_plain(value) -> whether msgpack itself carries it, so that it arrives as it went"},
    {"failpoint", module_failpoint, METH_VARARGS, "failpoint(step, signal, after=0): for fault tests"},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) {
    PyTypeObject *types[] = {bus_make_record_type(module), bus_make_segment_type(module), bus_make_writer_type(module),
                             bus_make_pump_type(module),   bus_make_patience_type(module)};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i] == NULL || PyModule_AddType(module, types[i]) < 0) return -1;
    }
    PyObject *steps = PyTuple_New(STEP_COUNT - 1);
    if (steps == NULL) return -1;
    for (int step = 1; step < STEP_COUNT; step++) {
        PyObject *name = PyUnicode_FromString(step_names[step]);
        if (name == NULL || PyTuple_SetItem(steps, step - 1, name) < 0) {
            Py_DECREF(steps);
            return -1;
        }
    }
    int failed = PyModule_AddObjectRef(module, "STEPS", steps);
    Py_DECREF(steps);
    if (failed < 0) return -1;
    return PyModule_AddIntConstant(module, "LAYOUT_VERSION", BUS_LAYOUT_VERSION) < 0 ||
                   PyModule_AddIntConstant(module, "HEADER", BUS_HEADER) < 0 || PyModule_AddIntConstant(module, "SLOTS", BUS_SLOTS) < 0 ||
                   PyModule_AddIntConstant(module, "SHARD", BUS_SHARD) < 0 || PyModule_AddIntConstant(module, "RING", BUS_RING) < 0 ||
                   PyModule_AddIntConstant(module, "PAGE", BUS_PAGE) < 0 || PyModule_AddIntConstant(module, "BELL", BUS_BELL) < 0 ||
                   PyModule_AddIntConstant(module, "LARGE", BUS_LARGE) < 0 || PyModule_AddIntConstant(module, "DATA", BUS_DATA) < 0 ||
                   PyModule_AddIntConstant(module, "REFERENCE", BUS_REFERENCE) < 0 ||
                   PyModule_AddIntConstant(module, "BINARY", BUS_BINARY) < 0 ||
                   PyModule_AddIntConstant(module, "PAGE_BYTES", (long)(sizeof(bus_page) - BUS_HEADER)) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "transports.bus._ring",
    .m_doc = "Shared-memory rings of the bus. The memory layout is in native/layout.h.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__ring(void) { return PyModuleDef_Init(&module_definition); }
