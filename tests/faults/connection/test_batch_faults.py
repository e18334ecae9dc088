"""Batches while something breaks: lost answers, a provider that fails, results that are not as they should be, and a
submitting process that is killed. Nothing is submitted twice, and nothing hangs."""

import asyncio
import json
import signal
import sys
from asyncio import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.connection.batches import QUICK, WIRES, batching, echo, numbered, said
from tests.support.providers.servers import account, transport
from three_mode import LLMConnection, errors
from three_mode.calls.batches import submission
from three_mode.connection import ConnectionOptions
from three_mode.policies import Policies, RetryOptions
from three_mode.testing import Answer, Fault, ScriptedProvider, overloaded, rate_limited
from three_mode.testing.batches import Action

SOON: dict[str, Any] = {"within": 30, "every": 0.01}
FAILED = Answer(status=500, pieces=(b'{"error":{"message":"it broke","type":"server_error"}}',))
GATEWAY = Answer(status=504, headers=((b"content-type", b"text/html"),), pieces=(b"<h1>gateway time-out</h1>",))
CUT = Fault(cut_after=0)


def made(server: ScriptedProvider) -> int:
    return len(server.batches.made)


# Submission


@pytest.mark.parametrize("fault", [CUT, Fault(reset_after=-1), Fault(cut_after_bytes=20)], ids=["head", "reset", "cut"])
async def test_a_lost_answer_is_found_by_the_marks_of_the_batch(fault: Fault) -> None:
    async with batching("openai") as (llm, server):
        server.batches.next("create", fault=fault)
        job = await llm.batch(numbered(3), later=True)
        assert made(server) == 1, "once"
        server.batches.finish()
        assert said(await job.results(**SOON)) == ["say 0", "say 1", "say 2"]


async def test_an_answer_that_a_gateway_lost_is_looked_for_too() -> None:
    async with batching("openai") as (llm, server):
        server.batches.next("create", GATEWAY)
        with pytest.raises(errors.BatchInterrupted, match="the list of batches does not have it") as lost:
            await llm.batch(numbered(3), later=True)
        assert (lost.value.job, lost.value.candidates, made(server)) == (None, (), 0)


async def test_an_upload_is_repeated() -> None:
    async with batching("openai") as (llm, server):
        server.batches.next("upload", fault=CUT)
        server.batches.next("upload", FAILED)
        await llm.batch(numbered(3), later=True)
        assert (made(server), len(server.batches.files)) == (1, 2)


@pytest.mark.parametrize("provider", WIRES)
async def test_a_refusal_is_tried_again_and_a_definite_one_is_not(provider: str) -> None:
    async with batching(provider) as (llm, server):
        server.batches.next("create", rate_limited("retry-after-ms", seconds=0.01))
        server.batches.next("create", overloaded())
        await llm.batch(numbered(2), later=True)
        assert made(server) == 1
        refusal = Answer(status=401, pieces=(b'{"error":{"message":"bad key","type":"authentication_error"}}',))
        server.batches.next("create", refusal)
        with pytest.raises(errors.AuthenticationError):
            await llm.batch(numbered(2), later=True)
        assert made(server) == 1


async def test_a_failed_create_is_tried_again_once_the_list_does_not_have_it() -> None:
    async with batching("openai") as (llm, server):
        server.batches.next("create", FAILED)
        await llm.batch(numbered(2), later=True)
        assert made(server) == 1
        lists = [seen for seen in server.seen if "/batches?limit" in seen.path]
        assert len(lists) == 1


async def test_a_lost_answer_of_a_provider_without_marks_is_an_error_with_candidates(tmp_path: Path) -> None:
    """Nobody can tell whose batch it is before it has ended; then its results can."""
    file = tmp_path / "night.batch"
    async with batching("anthropic") as (llm, server):
        server.batches.next("create", fault=CUT)
        with pytest.raises(errors.BatchInterrupted, match="keeps no marks") as lost:
            await llm.batch(numbered(3), later=True, file=file)
        assert made(server) == 1
        name = f"anthropic/m/{server.batches.made[0].id}"
        assert (lost.value.job, lost.value.candidates, lost.value.retryable) == (None, (name,), False)
        with pytest.raises(errors.BatchInterrupted):
            await llm.batch(numbered(3), later=True, file=file)
        server.batches.finish()
        job = await llm.batch(numbered(3), later=True, file=file)
        assert (job.id, made(server)) == (name, 1), "its results told"
        assert said(await job.results(**SOON)) == ["say 0", "say 1", "say 2"]


async def test_a_batch_of_somebody_else_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "night.batch"
    async with batching("anthropic") as (llm, server):
        other = await llm.batch(numbered(3), later=True)
        server.batches.finish()
        server.batches.next("create", GATEWAY)
        with pytest.raises(errors.BatchInterrupted, match="does not have it by now"):
            await llm.batch(numbered(3), later=True, file=file)
        monkeypatch.setattr(submission, "SETTLED", 0.0)
        job = await llm.batch(numbered(3), later=True, file=file)
        assert (job.id != other.id, made(server)) == (True, 2), "it certainly was not made, and now it is"


async def test_a_failure_in_the_middle_names_what_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import msgspec

    from three_mode.providers import BatchTerms, catalogue

    small = msgspec.structs.replace(catalogue.profile_of("openai"), batches=BatchTerms(requests=2))
    monkeypatch.setitem(catalogue._PROFILES, "openai", small)
    file = tmp_path / "night.batch"
    quota = Answer(status=429, pieces=(b'{"error":{"message":"none left","type":"insufficient_quota"}}',))
    async with batching("openai") as (llm, server):
        server.batches.next("create")
        server.batches.next("create", quota)
        with pytest.raises(errors.BatchInterrupted, match=r"1 of 2 batches certainly .*none left") as cut:
            await llm.batch(numbered(3), later=True, file=file)
        assert cut.value.job == f"openai/m/{server.batches.made[0].id}"
        job = await llm.batch(numbered(3), later=True, file=file)
        assert ([len(batch.requests) for batch in server.batches.made], job.id.count(",")) == ([2, 1], 1)
        again = await llm.batch(numbered(3), later=True, file=file)
        assert (again.id, made(server)) == (job.id, 2), "the file has all of it"
        with pytest.raises(errors.ConfigurationError, match="another batch"):
            await llm.batch(numbered(4), later=True, file=file)


async def test_files_that_are_no_journals(tmp_path: Path) -> None:
    async with batching("openai") as (llm, server):
        (tmp_path / "text").write_text("hello\n")
        with pytest.raises(errors.ConfigurationError, match="not the journal"):
            await llm.batch(numbered(1), later=True, file=tmp_path / "text")
        with pytest.raises(errors.ConfigurationError, match="cannot be kept"):
            await llm.batch(numbered(1), later=True, file=tmp_path / "none" / "x")
        file = tmp_path / "night"
        await llm.batch(numbered(1), later=True, file=file)
        whole = file.read_bytes()
        file.write_bytes(whole[:-5])  # the last line was cut by a crash
        server.seen.clear()
        await llm.batch(numbered(1), later=True, file=file)
        assert (file.read_bytes(), made(server)) == (whole, 1), "found at the provider"
        assert b"say" not in whole
        assert b"secret" not in whole
        assert file.stat().st_mode & 0o777 == 0o600


# A submitting process is killed


async def submitting(server: ScriptedProvider, provider: str, file: Path, count: int = 3) -> subprocess.Process:
    return await subprocess.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.connection.submits", server.url, provider, str(file), str(count)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


STEPS: list[tuple[str, Action, Fault | None]] = [
    ("openai", "upload", Fault(stall_before_head=60)),
    ("openai", "create", Fault(stall_before_head=60)),
    ("anthropic", "create", Fault(stall_before_head=60)),
    ("openai", "upload", None),
    ("openai", "create", None),
    ("anthropic", "create", None),
]


@pytest.mark.parametrize(("provider", "step", "fault"), STEPS)
async def test_a_killed_process_is_gone_on_with(
    provider: str, step: Action, fault: Fault | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it waits for the answer of a step. `fault`: the provider did it, else it did not. The same call in
    another process goes on, and there is one batch."""
    monkeypatch.setattr(submission, "SETTLED", 0.0)
    file = tmp_path / "night.batch"
    async with ScriptedProvider("http/1.1") as server:
        server.always(echo)
        unanswered = None if fault is not None else Answer(status=503)
        server.batches.next(step, unanswered, fault=Fault(stall_before_head=60))
        first = await submitting(server, provider, file)
        ending = {"upload": "/files", "create": "/batches"}[step]
        await server.until(lambda seen: any(each.path.endswith(ending) for each in seen.seen), within=60)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        if fault is not None and step == "create":
            assert made(server) == 1
            server.batches.finish()
        options = ConnectionOptions(accounts={provider: account(provider, server)}, transport=transport("http/1.1"))
        async with LLMConnection(provider, policies=Policies(retry=QUICK), options=options) as llm:
            job = await llm.batch(numbered(3), later=True, file=file)
            server.batches.finish()
            assert said(await job.results(**SOON)) == ["say 0", "say 1", "say 2"]
        assert made(server) == 1, "once"


async def test_two_processes_do_not_submit_one_job(tmp_path: Path) -> None:
    file = tmp_path / "night.batch"
    async with batching("openai") as (llm, server):
        server.batches.next("create", fault=Fault(stall_before_head=60))
        first = asyncio.ensure_future(llm.batch(numbered(2), later=True, file=file))
        await server.until(lambda seen: made(seen) == 1)
        with pytest.raises(errors.ConfigurationError, match="another process submits"):
            await llm.batch(numbered(2), later=True, file=file)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await llm.batch(numbered(2), later=True, file=file)).id, "the lock ended with the submission"
        assert made(server) == 1


async def test_a_cancelled_submission_is_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "night.batch"
    async with batching("openai") as (llm, server):
        server.batches.next("create", fault=Fault(stall_before_head=30))
        first = asyncio.ensure_future(llm.batch(numbered(2), later=True, file=file))
        await server.until(lambda seen: made(seen) == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await llm.batch(numbered(2), later=True, file=file)
        assert made(server) == 1


# Polling


@pytest.mark.parametrize("provider", WIRES)
async def test_a_provider_that_fails_while_it_is_polled(provider: str) -> None:
    """More often than a live call would be tried: the job waits until its deadline."""
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        server.batches.next("retrieve", rate_limited("retry-after-ms", seconds=0.01), times=2)
        server.batches.next("retrieve", FAILED, times=4)
        server.batches.next("retrieve", fault=CUT, times=2)
        server.batches.finish()
        assert said(await job.results(**SOON)) == ["say 0", "say 1"]
        server.batches.next("retrieve", FAILED, times=9)
        with pytest.raises(errors.ServerError):
            await job.status()


@pytest.mark.parametrize("provider", WIRES)
async def test_a_provider_that_never_answers_does_not_hold_a_wait(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        server.batches.next("retrieve", fault=Fault(stall_before_head=60), times=3)
        with pytest.raises(errors.DeadlineExceeded, match="the job goes on at the provider"):
            await job.results(within=0.3)
        with pytest.raises(errors.DeadlineExceeded):
            await job.status(within=0.2)


@pytest.mark.parametrize("step", ["wait", "download"])
async def test_closing_the_connection_ends_a_wait(step: str) -> None:
    async with batching("openai") as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        if step == "download":
            server.batches.finish()
            server.batches.next("results", fault=Fault(stall_after=1))
        waiting = asyncio.ensure_future(job.results(within=60))
        ending = "/content" if step == "download" else server.batches.made[0].id
        await server.until(lambda seen: any(each.path.endswith(ending) for each in seen.seen))
        await llm.close()
        async with asyncio.timeout(10):
            with pytest.raises(errors.ConfigurationError, match="closed"):
                await waiting
        with pytest.raises(errors.ConfigurationError, match="closed"):
            llm.batch_job(job.id)


@pytest.mark.parametrize("provider", WIRES)
async def test_a_cancel_is_repeated(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        server.batches.next("cancel", fault=CUT)
        server.batches.next("cancel", FAILED)
        assert (await job.cancel()).state == "cancelling"


# Results


@pytest.mark.parametrize("provider", WIRES)
@pytest.mark.parametrize("fault", [Fault(cut_after=2), Fault(cut_body_after_bytes=700), Fault(reset_after=1)])
async def test_results_that_are_cut_are_read_again(provider: str, fault: Fault) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(5), later=True)
        server.batches.finish()
        server.batches.next("results", fault=fault)
        server.batches.next("results", FAILED)
        assert said(await job.results(**SOON)) == [f"say {n}" for n in range(5)]
        assert llm.spent().calls == 5


@pytest.mark.parametrize("provider", WIRES)
async def test_a_line_that_cannot_be_read_is_the_error_of_its_request(provider: str) -> None:
    def broken(lines: list[bytes]) -> list[bytes]:
        return [line[:-9] + b"\n" if b"-1-x" in line else line for line in lines]

    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(3), later=True)
        server.batches.finish()
        server.batches.arrange = broken
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["say 0", "BadReply", "say 2"]
        assert "cannot be read" in str(outcomes[1])


@pytest.mark.parametrize("provider", WIRES)
async def test_results_that_are_whole_at_another_time(provider: str) -> None:
    times: list[int] = []

    def first_short(lines: list[bytes]) -> list[bytes]:
        times.append(1)
        return lines[:1] if len(times) == 1 else lines

    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(3), later=True)
        server.batches.finish()
        server.batches.arrange = first_short
        assert said(await job.results(**SOON)) == ["say 0", "say 1", "say 2"]


@pytest.mark.parametrize("provider", WIRES)
async def test_missing_repeated_and_foreign_results(provider: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each request has one outcome, and what is odd is logged."""

    def odd(lines: list[bytes]) -> list[bytes]:
        other = lines[0].replace(b"say 0", b"say it twice")
        stray = lines[0].replace(b'"custom_id":"', b'"custom_id":"theirs-')
        return [stray, b"[]\n", *lines[:-1], other, b"\n"]

    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(3), later=True)
        server.batches.finish()
        server.batches.arrange = odd
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["say 0", "say 1", "BadReply"]
        assert "have none for this request" in str(outcomes[2])
        (told,) = [vars(each) for each in caplog.records if each.message == "llm_batch_odd_results"]
        assert (told["strays"], told["repeated"], told["unreadable"]) == (1, 1, 1)
        assert llm.spent().calls == 2


@pytest.mark.parametrize("provider", WIRES)
async def test_a_key_that_comes_back_is_in_no_error(provider: str) -> None:
    key = "sk-secret-key-of-the-test"
    echoes = Answer(status=400, pieces=(json.dumps({"error": {"message": f"what is {key}?"}}).encode(),))
    nonsense = Answer(pieces=(f'{{"id": "{key}"}}'.encode(),))
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        told: list[BaseException] = []
        for action, answer in (("create", echoes), ("create", nonsense), ("retrieve", echoes), ("retrieve", nonsense)):
            server.batches.next(action, answer, times=3)  # type: ignore[arg-type]
            with pytest.raises(errors.ThreeModeError) as found:
                await (llm.batch(numbered(2), later=True) if action == "create" else job.status())
            told.append(found.value)
            server.batches._script.clear()
        server.always(echoes)
        server.batches.finish()
        told += await job.results(**SOON)  # type: ignore[arg-type]
        assert len(told) == 6
        assert all(key not in f"{each} {each!r} {vars(each)}" for each in told)


async def test_a_reply_that_is_too_long_is_an_error() -> None:
    policies = Policies(retry=RetryOptions(attempts=1))
    options = ConnectionOptions(reply_bytes=2000)
    async with batching("openai", policies, options=options) as (llm, server):
        job = await llm.batch([*numbered(1)], later=True)
        server.batches.finish()
        server.batches.arrange = lambda lines: [lines[0].replace(b"say 0", b"x" * 5000)]
        with pytest.raises(errors.ReplyTooLarge, match="reply_bytes"):
            await job.results(**SOON)
