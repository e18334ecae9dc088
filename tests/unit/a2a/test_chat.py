"""A request to a model as a message, a task as an answer, what a handler returns, and who may be a handler."""

import asyncio
from typing import Any

import msgspec
import pytest

from three_mode import Agent, LLMRequest, handler
from three_mode.a2a import (
    A2AAnswer,
    A2APart,
    A2ATurn,
    Artifact,
    NeedsInput,
    Rejected,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)
from three_mode.a2a.chat import ChatText, message_of, reply_of
from three_mode.a2a.folding import TaskFold
from three_mode.a2a.turns import meant
from three_mode.a2a.values import ArtifactUpdate, said_by
from three_mode.agents.handlers.declare import on, specs_of
from three_mode.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequest,
    ServerError,
    UnsupportedParameter,
)

USER: Any = {"role": "user", "content": "hello"}


def asked(*messages: Any, **fields: Any) -> LLMRequest:
    return LLMRequest(messages=messages or (USER,), **fields)


def texts(request: LLMRequest) -> list[str | None]:
    return [part.text for part in message_of(request)[0].parts]


def test_one_message_goes_alone() -> None:
    assert texts(asked()) == ["hello"]
    assert texts(asked({"role": "system", "content": "Be brief."}, USER)) == ["Be brief.", "hello"]


def test_what_was_said_before_goes_along_unless_the_agent_knows_it() -> None:
    talk = ({"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}, USER)
    assert texts(asked(*talk)) == ["User: one\n\nAssistant: two", "hello"]
    message, task, context = message_of(asked(*talk, extra={"taskId": "t", "contextId": "c"}))
    assert ([part.text for part in message.parts], task, context) == (["hello"], "t", "c")


def test_images_go_as_files() -> None:
    picture = {"type": "image", "data": b"\x89PNG", "mime": "image/png"}
    message, _, _ = message_of(asked({"role": "user", "content": [{"type": "text", "text": "see"}, picture]}))
    assert message.parts[1] == A2APart(raw=b"\x89PNG", media_type="image/png")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"name": "f", "parameters": {"type": "object"}}]}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"stop": ("x",)}, "stop"),
        ({"extra": {"top_k": 3}}, "extra.top_k"),
    ],
)
def test_what_an_agent_cannot_keep_to_is_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedParameter) as refused:
        message_of(asked(**fields))
    assert refused.value.field == named


def task(state: TaskState, said: str = "", *results: str) -> Task:
    message = said_by("ROLE_AGENT", (A2APart(text=said),)) if said else None
    artifacts = tuple(Artifact(artifact_id=text, parts=(A2APart(text=text),)) for text in results)
    return Task(id="t", context_id="c", status=TaskStatus(state=state, message=message), artifacts=artifacts or None)


def test_results_are_the_answer() -> None:
    reply = reply_of(task(TaskState.COMPLETED, "", "one", "two"), "peer")
    assert reply.content == "one\n\ntwo"
    assert reply.extra == {"a2a": {"taskId": "t", "contextId": "c", "state": "TASK_STATE_COMPLETED"}}
    assert reply_of(task(TaskState.INPUT_REQUIRED, "which?", "one"), "peer").content == "one\n\nwhich?"
    assert reply_of(task(TaskState.COMPLETED, "done"), "peer").content == "done"


@pytest.mark.parametrize(
    ("state", "error"),
    [
        (TaskState.FAILED, ServerError),
        (TaskState.CANCELED, ServerError),
        (TaskState.REJECTED, InvalidRequest),
        (TaskState.AUTH_REQUIRED, AuthenticationError),
    ],
)
def test_other_ends_are_errors(state: TaskState, error: type[Exception]) -> None:
    with pytest.raises(error, match="because"):
        reply_of(task(state, "because"), "peer")


def test_a_stream_says_the_same() -> None:
    text, fold, said = ChatText("peer"), TaskFold(), []
    for event in (
        task(TaskState.WORKING),
        ArtifactUpdate(task_id="t", artifact=Artifact(artifact_id="a", parts=(A2APart(text="one "),))),
        ArtifactUpdate(task_id="t", artifact=Artifact(artifact_id="a", parts=(A2APart(text="two"),)), append=True),
        ArtifactUpdate(task_id="t", artifact=Artifact(artifact_id="b", parts=(A2APart(data=[3]),))),
        StatusUpdate(task_id="t", status=task(TaskState.INPUT_REQUIRED, "more?").status),
    ):
        fold.add(event)
        said.append(text.of(event))
    assert "".join(said) == "one two\n\n[3]\n\nmore?"
    assert text.end(fold)["a2a"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    found = fold.task()
    assert found is not None
    assert reply_of(found, "peer").content == "".join(said)


@pytest.mark.parametrize(
    "value",
    [NeedsInput("which?", {"a": 1}), Rejected("no"), A2AAnswer((A2APart(raw=b"x"), A2APart(data=None)), name="n")],
)
def test_what_an_agent_means_travels(value: Any) -> None:
    assert meant(msgspec.msgpack.decode(msgspec.msgpack.encode(value))) == value


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("text", (A2APart(text="text"),)),
        (b"bytes", (A2APart(raw=b"bytes", media_type="application/octet-stream"),)),
        ({"a": (1, 2)}, (A2APart(data={"a": [1, 2]}),)),
        (7, (A2APart(data=7),)),
    ],
)
def test_other_values_are_answers_of_one_part(value: Any, parts: tuple[A2APart, ...]) -> None:
    assert meant(value) == A2AAnswer(parts)


def test_nothing_is_no_answer() -> None:
    assert meant(None) is meant("") is None
    for wrong in ({"three_mode.a2a": "dance"}, {"three_mode.a2a": "answer", "parts": []}, object()):
        with pytest.raises(ValueError):
            meant(wrong)


def test_a_handler_of_a2a_takes_one_message() -> None:
    class Good(Agent):
        @handler(a2a=True, concurrent=3)
        async def a(self, turn: A2ATurn, more: int = 1) -> str:
            return turn.text

        @handler(a2a=True)
        @on("news")
        def b(self, text: str) -> None: ...

        @handler
        def c(self, text: str) -> None: ...

    options = {name: (spec.options.a2a, len(spec.options.topics)) for name, spec in specs_of(Good).items()}
    assert options == {"a": (True, 0), "b": (True, 1), "c": (False, 0)}

    def none(self: Any) -> None: ...

    def two(self: Any, text: str, more: int) -> None: ...

    def named(self: Any, *, text: str) -> None: ...

    for function in (none, two, named):
        with pytest.raises(ConfigurationError, match="one message"):
            handler(a2a=True)(function)


async def test_importing_the_protocol_opens_nothing() -> None:
    before = set(asyncio.all_tasks())
    import three_mode.a2a

    assert set(three_mode.a2a.__all__) <= set(dir(three_mode.a2a))
    assert asyncio.all_tasks() == before
