"""Values of A2A, at random."""

from hypothesis import strategies as st

from three_mode.a2a.values import (
    A2AMessage,
    A2APart,
    Artifact,
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
    TaskStatus,
)

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = st.text("abcdef-1234", min_size=1, max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | words,
    lambda inner: st.lists(inner) | st.dictionaries(words, inner),
)
parts = st.one_of(
    st.builds(A2APart, text=words.filter(bool), media_type=st.none() | st.just("text/plain")),
    st.builds(A2APart, raw=st.binary(min_size=1, max_size=20), filename=st.none() | names),
    st.builds(A2APart, url=names, media_type=st.just("image/png")),
    st.builds(A2APart, data=json_values),
)
several = st.lists(parts, min_size=1, max_size=3).map(tuple)
messages = st.builds(
    A2AMessage,
    message_id=names,
    role=st.sampled_from(["ROLE_USER", "ROLE_AGENT"]),
    parts=several,
    context_id=st.none() | names,
    task_id=st.none() | names,
)
statuses = st.builds(
    TaskStatus,
    state=st.sampled_from([state for state in TaskState if state is not TaskState.UNSPECIFIED]),
    message=st.none() | messages,
    timestamp=st.none() | st.just("2026-01-02T03:04:05.678Z"),
)
artifacts = st.builds(Artifact, artifact_id=names, parts=several, name=st.none() | names)
events = st.one_of(
    st.builds(
        Task,
        id=names,
        context_id=names,
        status=statuses,
        artifacts=st.none() | st.lists(artifacts, min_size=1, max_size=2).map(tuple),
        history=st.none() | st.lists(messages, min_size=1, max_size=2).map(tuple),
    ),
    messages,
    st.builds(StatusUpdate, task_id=names, context_id=names, status=statuses),
    st.builds(
        ArtifactUpdate,
        task_id=names,
        context_id=names,
        artifact=artifacts,
        append=st.none() | st.just(True),
        last_chunk=st.none() | st.just(True),
    ),
)
