"""The HTTP+JSON binding: the method that a path, its verb and its query name. Pure."""

import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from three_mode.a2a.faults import INVALID_PARAMS, NO_SUCH_METHOD, NOT_JSON, A2AFault, invalid
from three_mode.a2a.rpc import CANCEL, EXTENDED_CARD, GET, LIST, PARAMETERS, SEND, STREAM, SUBSCRIBE
from three_mode.a2a.values import Value

BINDING = "HTTP+JSON"
_TASKS = "/tasks/"
_NO_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_UNDERSCORE = re.compile(r"_([a-z])")
_OWN = frozenset(("data", "metadata"))
_CONFIGS = "pushNotificationConfigs"
# Verbs of each path that has no task in it, and the method that each of them is.
_FIXED = {
    "/message:send": {"POST": SEND},
    "/message:stream": {"POST": STREAM},
    "/tasks": {"GET": LIST},
    "/extendedAgentCard": {"GET": EXTENDED_CARD},
}
_OF_A_TASK = {"": {"GET": GET}, "cancel": {"POST": CANCEL}, "subscribe": {"GET": SUBSCRIBE, "POST": SUBSCRIBE}}
_OF_CONFIGS = {"POST": "CreateTaskPushNotificationConfig", "GET": "ListTaskPushNotificationConfigs"}
_OF_ONE_CONFIG = {"GET": "GetTaskPushNotificationConfig", "DELETE": "DeleteTaskPushNotificationConfig"}


class Called(Struct, frozen=True):
    """The method that a request calls, and the task that its path names."""

    method: str
    task: str | None = None


class WrongVerb(Exception):
    """The path is one of the binding, and takes other verbs."""

    def __init__(self, verbs: tuple[str, ...]) -> None:
        super().__init__(", ".join(verbs))
        self.verbs = verbs


def called(verb: str, path: str) -> Called:
    """The method that a path below an agent's URL names; A2AFault where it names none, WrongVerb for another verb."""
    task, found = None, _FIXED.get(path)
    if found is None and path.startswith(_TASKS):
        task, slash, rest = path.removeprefix(_TASKS).partition("/")
        if not slash:
            task, _, action = task.rpartition(":") if ":" in task else (task, "", "")
            found = _OF_A_TASK.get(action)
        elif rest == _CONFIGS:
            found = _OF_CONFIGS
        elif rest.startswith(_CONFIGS + "/"):
            found = _OF_ONE_CONFIG
    if found is None or task == "":
        raise A2AFault(NO_SUCH_METHOD, "no such path; there are /message:send, /message:stream and /tasks")
    if verb not in found:
        raise WrongVerb(tuple(found))
    return Called(found[verb], task)


def read_body(body: bytes, kind: type[Value]) -> Value:
    """The parameters in a body; an empty one has none.

    Names are in camelCase. Clients that are made of the protocol's messages may write the names of those instead, with
    underscores, which readers of JSON for protobuf take too: a body that cannot be read otherwise is tried so.
    """
    body = body or b"{}"
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except msgspec.ValidationError as error:
        wrong = error
    except _NO_JSON as error:
        raise _no_json(error) from None
    try:
        found = msgspec.json.decode(body)
    except _NO_JSON as error:  # behind what is wrong
        raise _no_json(error) from None
    try:
        return msgspec.convert(_in_camel_case(found), kind, strict=False)
    except (msgspec.ValidationError, RecursionError):
        raise invalid(wrong) from None


def _no_json(error: Exception) -> A2AFault:
    return A2AFault(NOT_JSON, f"the body is no JSON: {error}")


def _in_camel_case(value: Any) -> Any:
    """The same with the protocol's names in camelCase; what a client says in data and metadata is its own."""
    if isinstance(value, list):
        return [_in_camel_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        _UNDERSCORE.sub(lambda found: found[1].upper(), name): given if name in _OWN else _in_camel_case(given)
        for name, given in value.items()
    }


def read_query(query: bytes, call: Called) -> Value:
    """The parameters of a method without a body: in its query and its path. Unknown ones are ignored."""
    try:
        given = parse_qsl(query.decode(), keep_blank_values=False, max_num_fields=64, errors="strict")
    except ValueError as error:
        raise A2AFault(INVALID_PARAMS, f"the query cannot be read: {error}") from None
    fields: dict[str, Any] = dict(given)
    if call.task is not None:
        fields["id"] = call.task
    try:
        return msgspec.convert(fields, PARAMETERS[call.method], strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
