"""Values, bindings and errors of A2A, against the official SDK's messages where those say the same."""

from typing import Any

import msgspec
import pytest
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from tests.support.a2a.values import events, json_values
from three_mode.a2a import http_json, rpc
from three_mode.a2a.card import AgentCapabilities, AgentCard, AgentSkill, interfaces, keys_needed, written
from three_mode.a2a.faults import INVALID_PARAMS, NOT_JSON, TASK_NOT_FOUND, A2AFault, read_http, read_rpc
from three_mode.a2a.folding import TaskFold
from three_mode.a2a.values import (
    A2AMessage,
    A2APart,
    ListTasksRequest,
    SendMessageRequest,
    StreamResponse,
    TaskRequest,
    TaskState,
    envelope,
    said_by,
    stamp,
)
from three_mode.errors import BadReply, InvalidRequest, NotFound


@given(events)
def test_events_are_those_of_the_sdk(event: Any) -> None:
    ours = msgspec.json.decode(msgspec.json.encode(envelope(event)))
    theirs = ParseDict(ours, pb.StreamResponse())  # it refuses fields that the protocol does not have
    back = msgspec.convert(MessageToDict(theirs), StreamResponse, strict=False)
    assert back.event == event


def test_a_card_is_one_of_the_sdk() -> None:
    card = AgentCard(
        name="clerk",
        supported_interfaces=interfaces("https://example.com/a2a/clerk"),
        capabilities=AgentCapabilities(streaming=True, push_notifications=False),
        default_input_modes=("text/plain",),
        default_output_modes=("text/plain",),
        skills=(AgentSkill(id="book", name="book", description="Book a trip."),),
        **keys_needed(),
    )
    body, tag = written(card)
    fields = msgspec.json.decode(body)
    theirs = ParseDict(fields, pb.AgentCard())
    assert [each.protocol_binding for each in theirs.supported_interfaces] == ["JSONRPC", "HTTP+JSON"]
    assert theirs.security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"
    required = ("name", "description", "version", "capabilities", "supportedInterfaces", "skills")
    assert all(name in fields for name in required)
    assert fields["skills"][0]["tags"] == []
    assert written(card) == (body, tag)
    assert msgspec.json.decode(body, type=AgentCard).name == "clerk"


def test_numbers_may_be_texts_and_unknown_fields_are_left() -> None:
    raw = b"""{"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x", "a": 1}], "contextId": null},
               "configuration": {"historyLength": "3", "blocking": true}, "later": {}}"""
    found = rpc.read_parameters(raw, SendMessageRequest)
    assert found.configuration is not None
    assert found.configuration.history_length == 3
    assert found.message.context_id is None


def test_names_of_the_protocols_messages_are_read_in_a_body() -> None:
    part = b"""{"data": {"a_b": 1}, "media_type": "application/json", "metadata": {"c_d": 2}}"""
    body = (
        b"""{"message": {"message_id": "m", "role": "ROLE_USER", "context_id": "c", "parts": [%b]},
                "configuration": {"history_length": 3}}"""
        % part
    )
    found = http_json.read_body(body, SendMessageRequest)
    assert isinstance(found, SendMessageRequest)
    assert (found.message.message_id, found.message.context_id) == ("m", "c")
    assert found.message.parts == (A2APart(data={"a_b": 1}, media_type="application/json", metadata={"c_d": 2}),)
    assert found.configuration is not None
    assert found.configuration.history_length == 3
    with pytest.raises(A2AFault) as refused:
        http_json.read_body(b"""{"message": {"message_id": "m", "role": "ROLE_USER"}}""", SendMessageRequest)
    assert refused.value.field == "message"


@pytest.mark.parametrize(("body", "reason"), [(b"", INVALID_PARAMS), (b'{"message": 1, ]', NOT_JSON), (b"{", NOT_JSON)])
def test_a_body_that_lacks_all_and_one_that_breaks_off_behind_what_is_wrong_are_refused(
    body: bytes, reason: Any
) -> None:
    with pytest.raises(A2AFault) as refused:
        http_json.read_body(body, SendMessageRequest)
    assert refused.value.kind == reason


def test_a_part_has_one_content() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        A2APart()
    with pytest.raises(ValueError, match="exactly one"):
        A2APart(text="x", raw=b"y")
    assert A2APart(data=None).said == "null"  # null is a value


@pytest.mark.parametrize(
    ("verb", "path", "method", "task"),
    [
        ("POST", "/message:send", "SendMessage", None),
        ("POST", "/message:stream", "SendStreamingMessage", None),
        ("GET", "/tasks", "ListTasks", None),
        ("GET", "/tasks/t", "GetTask", "t"),
        ("POST", "/tasks/t:cancel", "CancelTask", "t"),
        ("POST", "/tasks/t:subscribe", "SubscribeToTask", "t"),
        ("GET", "/tasks/t:subscribe", "SubscribeToTask", "t"),
        ("POST", "/tasks/t/pushNotificationConfigs", "CreateTaskPushNotificationConfig", "t"),
        ("GET", "/tasks/t/pushNotificationConfigs", "ListTaskPushNotificationConfigs", "t"),
        ("GET", "/tasks/t/pushNotificationConfigs/1", "GetTaskPushNotificationConfig", "t"),
        ("DELETE", "/tasks/t/pushNotificationConfigs/1", "DeleteTaskPushNotificationConfig", "t"),
        ("GET", "/extendedAgentCard", "GetExtendedAgentCard", None),
    ],
)
def test_paths_name_methods(verb: str, path: str, method: str, task: str | None) -> None:
    assert http_json.called(verb, path) == http_json.Called(method, task)


@pytest.mark.parametrize(
    "path", ["/", "/tasks/", "/tasks/:cancel", "/tasks/t:dance", "/tasks/t/more", "/message", "/card"]
)
def test_other_paths_name_none(path: str) -> None:
    with pytest.raises(A2AFault):
        http_json.called("GET", path)


def test_another_verb_is_told_which_there_are() -> None:
    with pytest.raises(http_json.WrongVerb) as wrong:
        http_json.called("PUT", "/tasks/t:subscribe")
    assert wrong.value.verbs == ("GET", "POST")


def test_a_query_has_parameters() -> None:
    query = b"pageSize=7&includeArtifacts=true&status=TASK_STATE_WORKING&contextId=a%20b&other=1"
    found = http_json.read_query(query, http_json.Called("ListTasks"))
    assert isinstance(found, ListTasksRequest)
    assert (found.page_size, found.include_artifacts, found.status, found.context_id) == (
        7,
        True,
        TaskState.WORKING,
        "a b",
    )
    one = http_json.read_query(b"id=other&historyLength=2", http_json.Called("GetTask", "t"))
    assert one == TaskRequest(id="t", history_length=2)  # the path says which
    for wrong in (
        b"pageSize=0",
        b"pageSize=x",
        b"status=1",
        b"&".join([b"a=1"] * 65),
    ):
        with pytest.raises(A2AFault):
            http_json.read_query(wrong, http_json.Called("ListTasks"))


def test_errors_travel() -> None:
    fault = A2AFault(TASK_NOT_FOUND, "there is no such task", taskId="t")
    assert fault.as_rpc()["code"] == -32001
    assert isinstance(read_rpc(fault.as_rpc(), "peer"), NotFound)
    assert isinstance(read_http(404, fault.as_http(), "peer", None), NotFound)
    wrong = A2AFault(INVALID_PARAMS, "a part is missing", "message.parts")
    body = msgspec.json.decode(wrong.as_http())["error"]
    assert (body["code"], body["status"]) == (400, "INVALID_ARGUMENT")
    assert body["details"][1]["fieldViolations"][0]["field"] == "message.parts"
    assert type(read_http(400, wrong.as_http(), "peer", None)) is InvalidRequest
    assert isinstance(read_rpc("no", "peer"), BadReply)


@given(st.binary(max_size=60) | json_values.map(msgspec.json.encode))
def test_any_body_is_a_request_or_refused(body: bytes) -> None:
    try:
        assert rpc.read_request(body).jsonrpc == "2.0"
    except rpc.RpcRefused as refused:
        assert refused.fault.kind.code in (-32700, -32600)  # noqa: PT017


@given(st.lists(events, max_size=6))
def test_folding_never_fails_and_ends_where_a_task_does(seen: list[Any]) -> None:
    fold = TaskFold()
    for event in seen:
        fold.add(event)
    task = fold.task()
    assert (task is None) == all(isinstance(event, A2AMessage) for event in seen)


def test_times_are_in_utc() -> None:
    assert stamp(0.1239) == "1970-01-01T00:00:00.123Z"
    assert (
        said_by("ROLE_USER", (A2APart(text="x"),)).message_id != said_by("ROLE_USER", (A2APart(text="x"),)).message_id
    )
