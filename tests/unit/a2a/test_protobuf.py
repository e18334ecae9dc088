"""Values and errors of A2A as messages of gRPC, against the official SDK's."""

from typing import Any

import msgspec
import pytest
from a2a.types import a2a_pb2 as sdk
from google.protobuf.json_format import ParseDict
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given

from tests.support.a2a.values import events, json_values
from three_mode.a2a import protobuf
from three_mode.a2a.faults import INVALID_PARAMS, TASK_NOT_FOUND, A2AFault
from three_mode.a2a.values import (
    A2APart,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    StreamResponse,
    Task,
    TaskRequest,
    TaskState,
    envelope,
    said_by,
)
from three_mode.errors import DeadlineExceeded, InvalidRequest, NotFound, ProviderOverloaded
from three_mode.grpc_messages import a2a_pb2 as pb
from transports.grpc import GrpcError, GrpcStatus


def test_the_schema_is_that_of_the_sdk() -> None:
    for name, message in pb.DESCRIPTOR.message_types_by_name.items():
        theirs = sdk.DESCRIPTOR.message_types_by_name[name]
        for field in message.fields:
            other = theirs.fields_by_name[field.name]
            kinds = [
                (each.number, each.type, each.is_repeated, each.has_presence, each.json_name)
                if hasattr(each, "is_repeated")
                else (each.number, each.type, each.label, each.has_presence, each.json_name)
                for each in (field, other)
            ]
            assert kinds[0] == kinds[1], f"{name}.{field.name}"
            if field.message_type is not None:
                assert field.message_type.full_name == other.message_type.full_name
    for name, enum in pb.DESCRIPTOR.enum_types_by_name.items():
        theirs = sdk.DESCRIPTOR.enum_types_by_name[name]
        assert {each.name: each.number for each in enum.values} == {each.name: each.number for each in theirs.values}
    (ours,), (service,) = pb.DESCRIPTOR.services_by_name.values(), sdk.DESCRIPTOR.services_by_name.values()
    assert ours.full_name == service.full_name == protobuf.SERVICE
    said = [
        {each.name: (each.input_type.full_name, each.output_type.full_name) for each in one.methods}
        for one in (ours, service)
    ]
    assert said[0] == said[1]


@given(events)
def test_events_are_those_of_the_sdk(event: Any) -> None:
    data = protobuf.write(envelope(event), pb.StreamResponse()).SerializeToString()
    json = msgspec.json.decode(msgspec.json.encode(envelope(event)))
    assert sdk.StreamResponse.FromString(data) == ParseDict(json, sdk.StreamResponse())
    back = protobuf.read(pb.StreamResponse.FromString(data), StreamResponse)
    assert back.event == event


@given(json_values)
def test_any_value_of_json_comes_back(value: Any) -> None:
    part = A2APart(data=value, metadata={"a": value})
    assert protobuf.read(protobuf.write(part, pb.Part()), A2APart) == part


def test_numbers_that_are_none_of_json_are_null() -> None:
    part = A2APart(data=[float("nan"), float("inf"), 1.5, 2.0**60, True])
    assert protobuf.read(protobuf.write(part, pb.Part()), A2APart).data == [None, None, 1.5, 2.0**60, True]


def test_what_is_asked_for_is_as_the_sdk_says_it() -> None:
    asked = sdk.SendMessageRequest(tenant="clerk", metadata={"a": 1})
    asked.message.CopyFrom(
        sdk.Message(message_id="m", role=sdk.Role.ROLE_USER, parts=[sdk.Part(raw=b"\0", media_type="image/png")])
    )
    asked.configuration.history_length = 0
    found = protobuf.read(pb.SendMessageRequest.FromString(asked.SerializeToString()), SendMessageRequest)
    assert found.configuration is not None
    assert (found.tenant, found.metadata, found.configuration.history_length) == ("clerk", {"a": 1}, 0)
    assert found.message.parts == (A2APart(raw=b"\0", media_type="image/png"),)

    listed = ListTasksRequest(
        context_id="c",
        status=TaskState.WORKING,
        page_size=3,
        status_timestamp_after="2026-01-02T03:04:05.678Z",
        include_artifacts=False,
    )
    theirs = sdk.ListTasksRequest.FromString(protobuf.write_call("ListTasks", listed))
    assert (theirs.status, theirs.page_size) == (sdk.TaskState.TASK_STATE_WORKING, 3)
    assert theirs.HasField("include_artifacts")
    assert theirs.status_timestamp_after.ToJsonString() == "2026-01-02T03:04:05.678Z"
    assert protobuf.read(pb.ListTasksRequest.FromString(theirs.SerializeToString()), ListTasksRequest) == listed
    assert sdk.GetTaskRequest.FromString(protobuf.write_call("GetTask", TaskRequest(id="t"))).id == "t"


def test_an_empty_page_is_one() -> None:
    page = protobuf.read_answer("ListTasks", ListTasksResponse, b"")
    assert page == ListTasksResponse(tasks=(), next_page_token="", page_size=0, total_size=0)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (pb.Task(id="t"), Task),  # it has no status
        (pb.Part(), A2APart),
        (pb.SendMessageRequest(), SendMessageRequest),
        (pb.ListTasksRequest(page_size=101), ListTasksRequest),
        (pb.SendMessageRequest(message=pb.Message(message_id="m", parts=[pb.Part(text="x")])), SendMessageRequest),
    ],
)
def test_what_says_too_little_is_refused(message: Any, kind: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        protobuf.read(message, kind)


def test_a_state_that_nobody_knows_is_refused() -> None:
    data = sdk.Task(id="t", status=sdk.TaskStatus(state=77)).SerializeToString()  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError, match="state"):
        protobuf.read(pb.Task.FromString(data), Task)


def test_bytes_that_are_no_message() -> None:
    with pytest.raises(ValueError, match=r".+"):
        protobuf.read_answer("GetTask", Task, b"\xff\xff")


def test_a_text_that_protobuf_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r".+"):
        protobuf.write(said_by("ROLE_USER", (A2APart(text="\ud800"),)), pb.Message())


def test_a_refusal_says_why_as_clients_read_it() -> None:
    ended = protobuf.write_fault(A2AFault(INVALID_PARAMS, "x: no", "message.role", taskId="t"))
    assert ended.status is GrpcStatus.INVALID_ARGUMENT
    said = status_pb2.Status.FromString(ended.details)
    assert (said.code, said.message) == (3, "x: no")  # the SDK wants them to be those of the call
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert said.details[0].Unpack(info)
    assert said.details[1].Unpack(bad)
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_PARAMS", "a2a-protocol.org", {"taskId": "t"})
    assert bad.field_violations[0].field == "message.role"


def test_how_a_call_ended_is_an_error_of_ours() -> None:
    found = protobuf.read_fault(protobuf.write_fault(A2AFault(TASK_NOT_FOUND, "there is none")), "there")
    assert isinstance(found, NotFound)
    assert (found.message, found.provider) == ("there: there is none", "there")
    found = protobuf.read_fault(GrpcError(GrpcStatus.UNAVAILABLE, "busy"), "there")
    assert isinstance(found, ProviderOverloaded)
    assert found.message == "there: busy"
    assert isinstance(protobuf.read_fault(GrpcError(GrpcStatus.DEADLINE_EXCEEDED, ""), "there"), DeadlineExceeded)
    assert isinstance(protobuf.read_fault(GrpcError(GrpcStatus.INVALID_ARGUMENT, "", b"\xff"), "there"), InvalidRequest)


def test_where_to_push_to_goes_as_it_is_given() -> None:
    said = {
        "message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]},
        "configuration": {"taskPushNotificationConfig": {"url": "https://a.example", "id": "t"}},
    }
    asked = msgspec.convert(said, SendMessageRequest)
    written = protobuf.write_call("SendMessage", asked)
    assert sdk.SendMessageRequest.FromString(written) == ParseDict(said, sdk.SendMessageRequest())
    assert protobuf.read(pb.SendMessageRequest.FromString(written), SendMessageRequest) == asked
    said["configuration"] = {"taskPushNotificationConfig": {"url": 5}}
    with pytest.raises(ValueError, match="url"):
        protobuf.write_call("SendMessage", msgspec.convert(said, SendMessageRequest))
