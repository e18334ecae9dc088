"""The pure parts of batch jobs: names, division into batches, status, and results in any order."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.calls.batches.collecting import Collected
from three_mode.calls.batches.journal import SubmissionJournal
from three_mode.calls.batches.names import RequestPlace, custom_id, job_id, new_job_name, place_of, read_job_id
from three_mode.calls.batches.plan import divided
from three_mode.calls.batches.status import status_of
from three_mode.errors import BadReply, InvalidRequest
from three_mode.messages import LLMResponse
from three_mode.policies import Target
from three_mode.providers import BatchTerms, profile_of
from three_mode.providers.batches import LineOutcome, ProviderBatch, batch_codec

JOB = "0123456789ab"
TARGET = Target("openai", "m")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(
    index=st.integers(0, 999_999),
    emulated=st.booleans(),
    label=st.none() | st.text(max_size=30).filter(lambda text: len(text.encode("utf-8", "replace")) <= 30),
)
def test_a_custom_id_says_its_place_and_fits_everywhere(index: int, emulated: bool, label: str | None) -> None:
    if label is not None:
        label = label.encode("utf-8", "replace").decode()
    place = RequestPlace(JOB, index, emulated, label)
    name = custom_id(place)
    assert place_of(name) == place
    assert len(name) <= 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@given(st.text(max_size=70))
def test_a_custom_id_of_another_program_has_no_place(name: str) -> None:
    place = place_of(name)
    assert place is None or place_of(custom_id(place)) == place


def test_names_of_jobs_differ() -> None:
    assert len({new_job_name() for _ in range(1000)}) == 1000


@given(
    provider=st.text(min_size=1, max_size=30),
    model=st.text(min_size=1, max_size=30),
    batches=st.lists(st.text("abc_123", min_size=1, max_size=9), min_size=1, max_size=4),
)
def test_a_job_id_is_read_back(provider: str, model: str, batches: list[str]) -> None:
    """Also of providers that are addresses, and of models with a vendor."""
    try:
        name = job_id(Target(provider, model), batches)
    except UnicodeEncodeError:
        return  # half of a surrogate pair is no name
    target, found = read_job_id(name)
    assert (target.provider, target.model, found) == (provider, model, batches)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 9), st.integers(100, 300))
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_batches_are_within_the_limits_and_in_order(provider: str, sizes: list[int], requests: int, size: int) -> None:
    codec, terms = batch_codec(profile_of(provider)), BatchTerms(requests=requests, size=size)
    lines = [b"x" * each for each in sizes]
    parts = divided(lines, codec, terms)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert [index for part in parts for index in range(part.first, part.first + part.count)] == list(range(len(sizes)))
    for part in parts:
        own = lines[part.first : part.first + part.count]
        outgoing = codec.create(own, "file", {}, ())
        assert part.count <= requests
        assert codec.size(own) <= size
        if provider == "anthropic":
            assert len(outgoing.body) <= codec.size(own), "as it goes over the wire"
    for one, next_one in pairwise(parts):
        more = lines[one.first : next_one.first + 1]
        assert len(more) > requests or codec.size(more) > size, "no batch is smaller than it must be"


def test_a_request_that_no_batch_can_hold() -> None:
    with pytest.raises(InvalidRequest, match=r"requests\[1\] alone"):
        divided([b"a", b"x" * 50], batch_codec(profile_of("openai")), BatchTerms(size=40))


def batch(state: Any, **fields: Any) -> ProviderBatch:
    return ProviderBatch(id="b", state=state, **fields)


@pytest.mark.parametrize(
    ("states", "state", "done"),
    [
        (["validating", "validating"], "validating", False),
        (["validating", "running"], "running", False),
        (["completed", "running"], "running", False),
        (["completed", "cancelling"], "cancelling", False),
        (["completed", "completed"], "completed", True),
        (["completed", "expired"], "expired", True),
        (["cancelled", "expired", "failed"], "failed", True),
        (["cancelled", "completed"], "cancelled", True),
    ],
)
def test_the_state_of_several_batches(states: list[str], state: str, done: bool) -> None:
    status = status_of([batch(each) for each in states])
    assert (status.state, status.done) == (state, done)


def test_counts_and_times_of_several_batches() -> None:
    status = status_of(
        [
            batch("completed", total=3, succeeded=2, failed=1, created_at=NOW, ended_at=NOW + timedelta(hours=1)),
            batch("running", total=None, marks={"three_mode_requests": "5"}, expires_at=NOW + timedelta(days=1)),
        ]
    )
    assert (status.total, status.succeeded, status.failed, status.waiting) == (8, 2, 1, 5)
    assert (status.created_at, status.expires_at, status.ended_at) == (NOW, NOW + timedelta(days=1), None)


def collected() -> Collected:
    return Collected(TARGET, batch_codec(profile_of("openai")).outcome, read)


def read(outcome: LineOutcome) -> Any:
    return LLMResponse.of((outcome.reply or b"").decode())


def line(index: int, text: str = '"hi"') -> bytes:
    return b'{"custom_id":"%b-%d-x","response":{"status_code":200,"body":%b}}' % (JOB.encode(), index, text.encode())


@given(st.permutations(range(6)), st.integers(0, 6))
def test_results_in_any_order_over_two_downloads(order: list[int], cut: int) -> None:
    results = collected()
    results.begin()
    for index in order[:cut]:
        assert results.take(line(index, f'"{index}"'))
    results.begin()
    for index in reversed(order):
        results.take(line(index, f'"{index}"'))
    assert [results.of(index)[1].content for index in range(6)] == [f'"{index}"' for index in range(6)]  # type: ignore[union-attr]
    assert (results.repeated, results.strays, results.unreadable, results.whole) == (0, 0, 0, 6)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line(data: bytes) -> None:
    """In both formats: an outcome, or a count of what cannot be read."""
    for provider in ("openai", "anthropic"):
        results = Collected(TARGET, batch_codec(profile_of(provider)).outcome, read)
        assert results.take(data)
        assert results.take(b'{"custom_id":"%b-0-x",' % JOB.encode() + data)
        assert isinstance(results.of(0)[1], BadReply | LLMResponse)


def test_a_line_that_can_be_read_at_another_time_stands() -> None:
    results = collected()
    results.begin()
    results.take(line(0)[:-3])
    assert isinstance(results.of(0)[1], BadReply)
    results.begin()
    results.take(line(0))
    assert isinstance(results.of(0)[1], LLMResponse)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_batch_or_an_error(data: bytes) -> None:
    for provider in ("openai", "anthropic"):
        codec = batch_codec(profile_of(provider))
        for decode in (codec.read, codec.read_page):
            with pytest.raises(BadReply):
                decode(data)


def test_an_upload_is_what_a_multipart_parser_reads() -> None:
    from email import message_from_bytes

    lines = [b'{"a":"\xc3\xa9--three-mode"}\n', b"{}\n"]
    outgoing = batch_codec(profile_of("openai")).upload(lines, "0123456789ab-1")
    assert outgoing is not None
    kind = dict(outgoing.headers)[b"content-type"]
    purpose, file = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + outgoing.body).get_payload()
    assert purpose.get_payload() == "batch"  # type: ignore[union-attr]
    assert file.get_payload(decode=True) == b"".join(lines)  # type: ignore[union-attr]
    assert file.get_filename() == "0123456789ab-1.jsonl"  # type: ignore[union-attr]


def test_a_journal_is_read_back(tmp_path: Path) -> None:
    async def write() -> None:
        journal = SubmissionJournal(tmp_path / "j")
        await journal.open()
        await journal.begin(JOB, "openai/m", "digest", [2, 1])
        await journal.uploaded(0, "file")
        await journal.sending(0)
        await journal.created(0, "batch")
        await journal.sending(1)
        await journal.not_sent(1)
        journal.close()

    async def read_back(size: int) -> SubmissionJournal:
        whole = (tmp_path / "j").read_bytes()
        (tmp_path / "cut").write_bytes(whole[:size])
        journal = SubmissionJournal(tmp_path / "cut")
        await journal.open()
        journal.close()
        return journal

    asyncio.run(write())
    size = (tmp_path / "j").stat().st_size
    steps = set()
    for end in range(size + 1):  # a crash after any byte
        journal = asyncio.run(read_back(end))
        first, second = journal.part(0), journal.part(1)
        steps.add((journal.job, first.uploaded, first.sent_at is not None, first.created, second.sent_at is not None))
    assert steps == {
        (None, None, False, None, False),
        (JOB, None, False, None, False),
        (JOB, "file", False, None, False),
        (JOB, "file", True, None, False),
        (JOB, "file", True, "batch", False),
        (JOB, "file", True, "batch", True),
    }
