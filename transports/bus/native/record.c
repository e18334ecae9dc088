/* One message as it was read: what the pump makes, and the base of the Message that handlers see.
 *
 * The payload is decoded when it is first looked at, and kept: 256 handlers of a process look at one object. The
 * subclass says by what: `decode(body)`, which belongs to the class and has no self; `_undecodable(error)` says it in words;
 * `_packed()` makes msgpack of a body that is plain bytes.
 */
#include "native.h"

#include <stddef.h>
#include <structmember.h>

#define SPARES 64

PyTypeObject *bus_record_type;
static PyTypeObject *spare_type; /* messages of this type are used again; guarded by the GIL, like the rest */
static Record *spare[SPARES];
static size_t spares;
static PyObject *decode_name, *undecodable_name, *packed_name;

PyObject *bus_make_record(PyTypeObject *type, long flags, PyObject *peer, uint64_t seq, PyObject *route, PyObject *topic,
                          PyObject *envelope, PyObject *body) {
    Record *self;
    Py_INCREF(peer); /* at once: what is made of them may be collected, and with it what they were borrowed from */
    Py_INCREF(route);
    Py_INCREF(topic);
    Py_INCREF(envelope);
    Py_INCREF(body);
    if (type == spare_type && spares > 0) {
        self = (Record *)PyObject_Init((PyObject *)spare[--spares], type);
    } else {
        self = (Record *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
        if (self == NULL) {
            Py_DECREF(peer);
            Py_DECREF(route);
            Py_DECREF(topic);
            Py_DECREF(envelope);
            Py_DECREF(body);
            return NULL;
        }
        PyObject_GC_UnTrack(self); /* not before it is whole */
    }
    self->flags = flags;
    self->seq = seq;
    self->peer = peer;
    self->route = route;
    self->topic = topic;
    self->envelope = envelope;
    self->body = body;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

int bus_keep_spares(PyTypeObject *type) {
    if (spare_type != NULL) return 0;
    PyObject *size = PyObject_GetAttrString((PyObject *)type, "__basicsize__");
    if (size == NULL) return -1;
    if (PyLong_AsSsize_t(size) == sizeof(Record)) {
        Py_INCREF((PyObject *)type);
        spare_type = type;
    }
    Py_DECREF(size);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *record_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    long flags;
    unsigned long long seq;
    PyObject *peer, *route, *topic, *envelope, *body;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "a record takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "lOKOUSS:Record", &flags, &peer, &seq, &route, &topic, &envelope, &body)) return NULL;
    return bus_make_record(type, flags, peer, seq, route, topic, envelope, body);
}

/* The `decode` of a class; looked up when messages of another class come. */
static PyObject *decoder_of(PyTypeObject *type) {
    static PyTypeObject *known;
    static PyObject *decoder;
    if (type == known) {
        Py_INCREF(decoder);
        return decoder;
    }
    PyObject *found = PyObject_GetAttr((PyObject *)type, decode_name);
    if (found == NULL) return NULL;
    PyObject *before[] = {(PyObject *)known, decoder}; /* letting go of them may run anything, and so comes last */
    Py_INCREF((PyObject *)type);
    Py_INCREF(found);
    known = type;
    decoder = found;
    Py_XDECREF(before[0]);
    Py_XDECREF(before[1]);
    return found;
}

static PyObject *decode(PyObject *object, PyObject *body) {
    PyObject *decoder = decoder_of(Py_TYPE(object));
    if (decoder == NULL) return NULL;
    PyObject *decoded = PyObject_CallFunctionObjArgs(decoder, body, NULL);
    Py_DECREF(decoder);
    if (decoded != NULL || !PyErr_ExceptionMatches(PyExc_Exception)) return decoded;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *result = PyObject_CallMethodObjArgs(object, undecodable_name, error, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return result;
}

static PyObject *record_get_payload(PyObject *object, void *closure) {
    (void)closure;
    Record *self = (Record *)object;
    if (self->payload == NULL) {
        if (self->flags & BUS_BINARY) {
            Py_INCREF(self->body);
            self->payload = self->body;
        } else {
            PyObject *decoded = decode(object, self->body);
            if (decoded == NULL) return NULL;
            if (self->payload == NULL) {
                self->payload = decoded;
            } else { /* another thread has looked too: all look at one object */
                Py_DECREF(decoded);
            }
        }
    }
    Py_INCREF(self->payload);
    return self->payload;
}

static PyObject *record_get_raw(PyObject *object, void *closure) {
    (void)closure;
    Record *self = (Record *)object;
    if (self->flags & BUS_BINARY) return PyObject_CallMethodObjArgs(object, packed_name, NULL);
    Py_INCREF(self->body);
    return self->body;
}

static int record_traverse(PyObject *object, visitproc visit, void *arg) {
    Record *self = (Record *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->peer);
    Py_VISIT(self->route);
    Py_VISIT(self->payload);
    return 0;
}

static int record_clear(PyObject *object) {
    Record *self = (Record *)object;
    Py_CLEAR(self->peer);
    Py_CLEAR(self->route);
    Py_CLEAR(self->topic);
    Py_CLEAR(self->envelope);
    Py_CLEAR(self->body);
    Py_CLEAR(self->payload);
    return 0;
}

static void record_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    record_clear(object);
    if (type == spare_type && spares < SPARES) {
        spare[spares++] = (Record *)object;
        Py_DECREF(type);
        return;
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyMemberDef record_members[] = {
    {"flags", T_LONG, offsetof(Record, flags), READONLY, "how the body is to be read"},
    {"seq", T_ULONGLONG, offsetof(Record, seq), READONLY, "number among all that its member published; 0 for replies"},
    {"peer", T_OBJECT_EX, offsetof(Record, peer), READONLY, "the member it came from"},
    {"route", T_OBJECT_EX, offsetof(Record, route), READONLY, "who wants it here, or None"},
    {"topic", T_OBJECT_EX, offsetof(Record, topic), READONLY, "\"\" for what is not published"},
    {"envelope", T_OBJECT_EX, offsetof(Record, envelope), READONLY, "msgpack"},
    {"body", T_OBJECT_EX, offsetof(Record, body), READONLY, "the payload as it came"},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef record_getset[] = {
    {"payload", record_get_payload, NULL, "decoded when first looked at", NULL},
    {"raw", record_get_raw, NULL, "the payload as msgpack; give it to `Encoded` to pass it on", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot record_slots[] = {
    {Py_tp_new, record_new},
    {Py_tp_dealloc, record_dealloc},
    {Py_tp_traverse, record_traverse},
    {Py_tp_clear, record_clear},
    {Py_tp_members, record_members},
    {Py_tp_getset, record_getset},
    {0, NULL},
};

static PyType_Spec record_spec = {
    .name = "transports.bus._ring.Record",
    .basicsize = sizeof(Record),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = record_slots,
};

PyTypeObject *bus_make_record_type(PyObject *module) {
    if (decode_name == NULL) decode_name = PyUnicode_InternFromString("decode");
    if (undecodable_name == NULL) undecodable_name = PyUnicode_InternFromString("_undecodable");
    if (packed_name == NULL) packed_name = PyUnicode_InternFromString("_packed");
    if (decode_name == NULL || undecodable_name == NULL || packed_name == NULL) return NULL;
    bus_record_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &record_spec, NULL);
    return bus_record_type;
}
