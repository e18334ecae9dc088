"""Tasks of A2A at the endpoint: what is kept, who sees it, which states follow, and what a reader gets."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from three_mode.a2a.faults import A2AFault
from three_mode.a2a.folding import TaskFold
from three_mode.a2a.turns import A2AAnswer
from three_mode.a2a.values import (
    A2APart,
    ArtifactUpdate,
    ListTasksRequest,
    StatusUpdate,
    TaskState,
    may_follow,
    said_by,
    stamp,
)
from three_mode.serve.surfaces.a2a.record import MOST_WAITING, TaskReader, TaskRecord, TaskTooLarge
from three_mode.serve.surfaces.a2a.store import Full, StoreLimits, TaskStore

LIMITS = {"tasks": 100, "working": 100, "total_bytes": 1 << 20, "task_bytes": 1 << 17, "keep": 60.0}


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def store(**limits: Any) -> tuple[TaskStore, Time]:
    clock = Time()
    return TaskStore(StoreLimits(**{**LIMITS, **limits}), clock), clock


def finish(tasks: TaskStore, record: TaskRecord, state: TaskState = TaskState.COMPLETED) -> None:
    record.become(TaskState.WORKING)
    record.become(state, "why?" if state is TaskState.INPUT_REQUIRED else None)
    tasks.settled(record)


def test_ten_thousand_open_tasks_are_kept_and_one_more_is_refused() -> None:
    tasks, _ = store(tasks=20_000, working=10_000, total_bytes=1 << 30)
    made = [tasks.new("agent", b"me", f"{number}") for number in range(10_000)]
    with pytest.raises(Full):
        tasks.new("agent", b"me", "x")
    assert tasks.get(b"me", "agent", made[0].id) is made[0]
    assert tasks.page(b"me", "agent", ListTasksRequest(page_size=1)).total_size == 10_000
    for record in made:
        finish(tasks, record)
    assert tasks.working == 0
    tasks.new("agent", b"me", "x")


def test_the_finished_task_that_ended_first_goes_first_then_the_one_that_waited_longest() -> None:
    tasks, _ = store(tasks=4)
    working, waiting, first, second = (tasks.new("agent", b"me", "c") for _ in range(4))
    working.become(TaskState.WORKING)
    finish(tasks, waiting, TaskState.INPUT_REQUIRED)
    finish(tasks, second)
    finish(tasks, first)
    gone = []
    for expected in (second, first, waiting):
        tasks.new("agent", b"me", "c")
        gone.append(expected)
        for record in gone:
            with pytest.raises(A2AFault):
                tasks.get(b"me", "agent", record.id)
    assert waiting.state is TaskState.FAILED  # and whoever watched it knows
    assert tasks.get(b"me", "agent", working.id) is working
    with pytest.raises(Full):  # all of them are worked on
        tasks.new("agent", b"me", "c")


def test_what_is_too_old_goes() -> None:
    tasks, clock = store(keep=60)
    done, waiting, working = (tasks.new("agent", b"me", "c") for _ in range(3))
    finish(tasks, done)
    finish(tasks, waiting, TaskState.INPUT_REQUIRED)
    clock.now += 59
    assert len(tasks) == 3
    clock.now += 2
    tasks.expire()
    assert [record.id for record in tasks.all()] == [working.id]
    assert waiting.state is TaskState.FAILED


def test_bytes_of_all_tasks_are_bounded() -> None:
    tasks, _ = store(total_bytes=100_000, task_bytes=60_000)
    first, second = tasks.new("agent", b"me", "c"), tasks.new("agent", b"me", "c")
    first.become(TaskState.WORKING)
    second.become(TaskState.WORKING)
    first.add_text("x" * 50_000)
    with pytest.raises(TaskTooLarge):  # both are worked on: the one that grows has to end
        second.add_text("y" * 50_000)
    second.become(TaskState.FAILED)
    tasks.settled(second)
    third = tasks.new("agent", b"me", "c")
    assert second.id not in {record.id for record in tasks.all()}  # it made room
    third.become(TaskState.WORKING)
    with pytest.raises(TaskTooLarge):
        third.add_text("z" * 60_000)
    assert tasks.bytes <= 100_000 + 60_000


def test_a_task_is_there_for_its_owner_and_its_agent_alone() -> None:
    tasks, _ = store()
    record = tasks.new("agent", b"me", "c")
    for owner, agent in ((b"you", "agent"), (b"me", "other")):
        with pytest.raises(A2AFault, match="no such task"):
            tasks.get(owner, agent, record.id)
        assert tasks.page(owner, agent, ListTasksRequest()).total_size == 0
    other = tasks.new("agent", b"you", "c")
    mine = tasks.new("agent", b"me", "c")
    assert tasks.of_context(mine) == [record]
    assert tasks.of_context(other) == []


def test_tasks_since_a_time_are_listed() -> None:
    tasks, clock = store()
    tasks.new("agent", b"me", "c")
    clock.now += 10
    late = tasks.new("agent", b"me", "c")
    after = ListTasksRequest(status_timestamp_after=stamp(clock.now - 5))
    assert [task.id for task in tasks.page(b"me", "agent", after).tasks] == [late.id]
    for wrong in ("-1", "yesterday", "99999-01-01T00:00:00Z"):
        with pytest.raises(A2AFault, match="ISO"):
            tasks.page(b"me", "agent", ListTasksRequest(status_timestamp_after=wrong))


class Kept(RuleBasedStateMachine):
    """Whatever happens to tasks, the counts agree with them, and nothing that is worked on is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks, self.clock = store(tasks=6, working=4, total_bytes=40_000, task_bytes=20_000, keep=30)
        self.made: list[TaskRecord] = []

    @rule()
    def new(self) -> None:
        try:
            self.made.append(self.tasks.new("agent", b"me", "c"))
        except Full:
            assert self.tasks.working >= 4 or self.tasks.bytes > 0

    @precondition(lambda self: self.made)
    @rule(data=st.data(), size=st.integers(0, 15_000))
    def grow(self, data: st.DataObject, size: int) -> None:
        record = data.draw(st.sampled_from(self.made))
        if not record.settled:
            try:
                record.add_text("x" * size)
            except TaskTooLarge:
                finish(self.tasks, record, TaskState.FAILED)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), state=st.sampled_from([TaskState.COMPLETED, TaskState.INPUT_REQUIRED, TaskState.CANCELED]))
    def settle(self, data: st.DataObject, state: TaskState) -> None:
        record = data.draw(st.sampled_from(self.made))
        if not record.settled:
            finish(self.tasks, record, state)

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def work_on(self, data: st.DataObject) -> None:
        record = data.draw(st.sampled_from(self.made))
        if record.state.waits:
            try:
                self.tasks.works(record)
            except Full:
                return
            record.become(TaskState.WORKING)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.tasks.expire()

    @invariant()
    def the_counts_are_right(self) -> None:
        kept = list(self.tasks.all())
        assert len(kept) <= 6
        assert self.tasks.working == sum(not record.settled for record in kept) <= 4
        assert self.tasks.bytes == sum(record.size for record in kept)
        lost = [record for record in self.made if record not in kept]
        assert all(record.state.finished for record in lost)


TestKept = Kept.TestCase


@given(st.sampled_from(TaskState), st.sampled_from(TaskState))
def test_nothing_follows_a_state_that_is_finished(before: TaskState, after: TaskState) -> None:
    if before.finished:
        assert not may_follow(before, after)
    assert not may_follow(before, TaskState.SUBMITTED)


def test_a_text_that_a_question_ends_goes_on_in_another_result() -> None:
    record = TaskRecord("agent", b"me", "c", 1 << 20)
    record.hear(said_by("ROLE_USER", (A2APart(text="hello"),)))
    record.become(TaskState.WORKING)
    record.add_text("one ")
    record.add_text("two")
    record.become(TaskState.INPUT_REQUIRED, "go on?")
    record.become(TaskState.WORKING)
    record.add_text("three")
    record.add_answer(A2AAnswer((A2APart(data={"a": 1}),), name="data"))
    record.add_text("four")
    record.become(TaskState.COMPLETED)
    assert [artifact.text for artifact in record.results()] == ["one two", "three", '{"a":1}', "four"]
    task = record.task(history=1)
    assert [message.text for message in task.history or ()] == ["go on?"]
    assert record.task(history=0).history is None
    assert record.task(artifacts=False).artifacts is None
    assert not record.become(TaskState.WORKING)


async def test_a_reader_that_waits_holds_few_events_and_all_of_the_text() -> None:
    record = TaskRecord("agent", b"me", "c", 1 << 24)
    quick, slow = record.open_reader(), record.open_reader()
    heard: list[StatusUpdate | ArtifactUpdate] = []
    record.become(TaskState.WORKING)
    for number in range(20_000):
        record.add_text(f"{number} ")
        if number % 5_000 == 4_999:
            record.add_answer(A2AAnswer((A2APart(data=number),)))
        heard += quick.take()
        assert len(slow) <= MOST_WAITING + 1
    record.become(TaskState.COMPLETED)
    assert len(slow) < MOST_WAITING
    both = []
    for events in (heard + quick.take(), slow.take()):
        fold = TaskFold()
        for event in events:
            fold.add(event)
        both.append(fold.task())
        assert isinstance(events[-1], StatusUpdate)
    assert both[0] == both[1]
    assert tuple(record.results()) == (both[0].artifacts if both[0] else ())
    assert slow.closed
    assert quick.closed


async def test_a_reader_is_woken_by_what_comes_and_by_the_end() -> None:
    record = TaskRecord("agent", b"me", "c", 1 << 20)
    reader: TaskReader = record.open_reader()
    assert not await reader.wait(0.01)
    waiting = asyncio.create_task(reader.wait(5))
    await asyncio.sleep(0)
    record.become(TaskState.WORKING)
    assert await waiting
    assert len(reader.take()) == 1
    record.become(TaskState.CANCELED)
    assert await reader.wait(5)
    assert await reader.wait(5)  # it stays open to be read to its end
    assert [event.status.state for event in reader.take() if isinstance(event, StatusUpdate)] == [TaskState.CANCELED]
    late = record.open_reader()
    assert late.closed
