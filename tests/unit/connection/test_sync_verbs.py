"""The front for code without a loop has every verb of the connection, with the same arguments."""

import inspect
from typing import Any

import pytest

from three_mode import connection, sync
from three_mode.calls import batches, stream

# Verb -> why code without a loop has none.
ABSENT = {
    "LLMConnection": {
        "begin_completion": "it is for programs that have a loop, and call from its callbacks",
        "local_model": "its answers come in asynchronous batches, for programs that pass them on",
        "states": "an old name, which goes with the first release",
        "local": "an old name, which goes with the first release",
    },
    "ReplyStream": {"aclose": "it is `close`"},
    "BatchJob": {},
}
PAIRS = [
    (connection.LLMConnection, sync.LLMConnection),
    (stream.ReplyStream, sync.ReplyStream),
    (batches.BatchJob, sync.BatchJob),
]
NAMES = [kind.__name__ for kind, _ in PAIRS]


def verbs(kind: type) -> set[str]:
    """The public methods and properties of a class."""
    return {name for name in dir(kind) if not name.startswith("_")}


def parameters(method: Any) -> list[tuple[str, Any, Any]]:
    """Name, kind and default of each parameter."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(method).parameters.values()]


@pytest.mark.parametrize(("kind", "front"), PAIRS, ids=NAMES)
def test_every_verb_is_there(kind: type, front: type) -> None:
    absent = set(ABSENT[kind.__name__])
    assert verbs(kind) - verbs(front) == absent
    assert absent <= verbs(kind), "take off the list what is no verb any more"


@pytest.mark.parametrize(("kind", "front"), PAIRS, ids=NAMES)
def test_every_verb_takes_the_same_and_awaits_nothing(kind: type, front: type) -> None:
    for name in sorted(verbs(kind) & verbs(front)):
        there, here = inspect.getattr_static(kind, name), inspect.getattr_static(front, name)
        if inspect.isfunction(there):
            assert parameters(there) == parameters(here), name
        assert not inspect.iscoroutinefunction(here), name
        assert here.__doc__, name


def test_a_connection_is_made_with_the_same_arguments() -> None:
    assert parameters(connection.LLMConnection.__init__) == parameters(sync.LLMConnection.__init__)


def test_verbs_that_need_no_call() -> None:
    with sync.LLMConnection() as llm:
        assert "tiny" in llm.local_models()
        assert llm.breaker_states() == {}
