"""Engine: decodes for all callers of one model, on a thread of its own.

A turn of the thread is a step of the scheduler: what it plans is decoded, and a token is sampled for each call that
writes. Where the next steps are sure to be alike, a turn runs many (`stretch.py`). Callers send commands through one
queue, and each event loop receives its pieces in one call per step.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from local_models.engine.batching import drop_fillers, fill_batch
from local_models.engine.cache import KvCache
from local_models.engine.calls import OpenCalls
from local_models.engine.command_thread import CommandThread
from local_models.engine.compute_threads import ComputeThreads
from local_models.engine.growing import GrowingCache
from local_models.engine.growth import Growth
from local_models.engine.images import ImageAt
from local_models.engine.keeping import Keeping
from local_models.engine.long_calls import LongCalls
from local_models.engine.pace import PrefillPace
from local_models.engine.stretch import Stretch
from local_models.engine.tickets import Ticket
from local_models.engine.token_writer import TokenWriter
from local_models.errors import EngineFailed, LocalModelError, ModelClosed
from local_models.kept.prompts import KeptPrompts
from local_models.llama import Context, Weights
from local_models.scheduling.plan import Row, SchedulerLimits, StepPlan
from local_models.speculation import Speculation

STATE_SECONDS = 0.05  # longest wait for a kept state between two looks at deadlines


@dataclass(frozen=True, slots=True)
class Job:
    """Long work in slices, one slice between two steps.

    `advance` runs a slice and returns whether there are more; `fail` takes the error of an engine that ended. Neither
    raises.
    """

    advance: Callable[[], bool]
    fail: Callable[[LocalModelError], None]


class Engine:
    """Decodes for all callers of one model. `step_seconds` is what a step with a prompt aims at.

    `threads` are those that compute while event loops of the program need a core, and while they do not; None: those of
    the context. `growth` makes the context wider when that is needed; None: it stays as it is. `kept` keeps prompts
    outside the context; None: nothing does. `speculation` proposes the next tokens of calls; None: each step writes a
    token for each call.

    `batch` is the most tokens of a step. `submit`, `cancel`, `job` and `watch_thread` may be called from any thread.
    `statistics`, and what is done with `cache`, run on the engine's `thread`, as commands.
    """

    def __init__(
        self,
        weights: Weights,
        context: Context,
        limits: SchedulerLimits,
        step_seconds: float,
        name: str,
        threads: tuple[int, int] | None = None,
        growth: Growth | None = None,
        kept: KeptPrompts | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        self.weights, self.batch = weights, limits.batch
        self.thread = CommandThread(f"local-model-{name}", self._run_turn, self._end)
        self.cache = KvCache(context, limits)
        self.keeping = Keeping(kept, step_seconds, self.thread.command) if kept is not None else None
        if self.keeping is not None:
            self.cache.scheduler.restorable = self.keeping.restorable
        self._speculation = speculation
        long = LongCalls(growth.longest if growth is not None else limits.slot_tokens, growth)
        self.calls = OpenCalls(weights, self.cache, long, self.keeping, speculation)
        self._writer = TokenWriter(weights, self.cache, self.calls)
        self._pace = PrefillPace(step_seconds, limits.batch)
        self._threads = ComputeThreads(*(threads or (context.shape.threads, context.shape.threads)))
        self._growing: GrowingCache | None = None
        if growth is not None:
            self._growing = GrowingCache(growth, self.cache, self.calls, self._threads, self.thread)
        self._jobs: deque[Job] = deque()

    @property
    def context(self) -> Context:
        """The context in which the engine decodes now."""
        return self.cache.context

    # --- from any thread ---

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Starts calls together; an error of one of them is delivered to its caller."""
        self.thread.command(lambda: self.calls.arrive(tickets))

    def cancel(self, ticket: Ticket) -> None:
        """Ends a call without a last piece or an error; does nothing if the call has ended."""
        try:
            self.thread.command(lambda: self.calls.cancel(ticket))
        except LocalModelError:
            pass  # closed: the call has ended

    def job(self, work: Job) -> None:
        """Adds long work that runs in slices between steps."""
        self.thread.command(lambda: self._jobs.append(work))

    def watch_thread(self, thread: int) -> None:
        """Counts the processor time of a thread, by its identifier, as that of an event loop."""
        if thread != self.thread.ident:
            self._threads.watch(thread)

    # --- a turn ---

    def _run_turn(self) -> None:
        scheduler, calls, keeping = self.cache.scheduler, self.calls, self.keeping
        if self._growing is not None and len(calls.long) and scheduler.idle:
            self._growing.consider()
        if scheduler.idle and not self._jobs and not (keeping is not None and keeping.pending):
            self.thread.await_command(calls.next_deadline - time.monotonic() if len(calls.long) else None)
        self.thread.run_commands()
        if self.thread.closed:
            return
        if self._jobs:
            job = self._jobs.popleft()
            if job.advance():
                self._jobs.append(job)
        calls.expire()
        if not scheduler.idle:
            self._run_step()
        calls.handover.flush(time.perf_counter())
        if keeping is not None:
            keeping.work(self.cache.context, scheduler, hurried=not self.thread.commands.empty())

    def _end(self, reason: LocalModelError) -> None:
        """Ends every call with `reason`, and frees the context."""
        self.calls.fail_all(reason)
        for job in self._jobs:
            job.fail(reason)
        self._jobs.clear()
        self.calls.handover.flush(time.perf_counter())
        if self.keeping is not None:
            self.keeping.close(self.cache.context, self.cache.scheduler, save=isinstance(reason, ModelClosed))
        self.cache.context.close()
        if self._speculation is not None:
            self._speculation.close()

    # --- a step ---

    def _run_step(self) -> None:
        started = time.perf_counter()
        cache, calls, speculation = self.cache, self.calls, self._speculation
        scheduler, images, totals = cache.scheduler, cache.images, calls.totals
        writers = scheduler.writers
        readers = scheduler.running - writers
        step = scheduler.plan(self._pace.allowance(writers, readers), self._pace.price)
        if self._growing is not None:
            self._growing.consider()
        cache.edit(step.edits)
        if step.seated:
            calls.seat(step.seated)
            if self.keeping is not None:
                self.keeping.order(step.seated, cache.context)
        calls.finish_full(step.full)
        if not step.rows or step.full:
            if scheduler.restoring and not step.full:
                self.thread.await_command(STATE_SECONDS)  # no call can go on before a state has arrived
            return
        pictured = None
        if images.calls:
            speculation = None  # what stands for images is no token
            pictured = images.take(step)
            if pictured is not None and not self._decode_image(step, *pictured):
                return
        accepted = totals.accepted_tokens
        if speculation is not None and (spare := scheduler.spare(step)) > 0:
            speculation.propose(step, spare, cache.context.threads)
        code, places, decoding = self._decode(step, speculation)
        if code == 0:
            sampled = [row for row in step.rows if row.samples]
            scheduler.commit(step)
            if sampled:
                self._writer.write(sampled, places)
        elif code == 1:
            scheduler.no_room(step)
            calls.finish_full(step.full)
        else:
            raise EngineFailed(f"llama_decode failed with {code}")
        if pictured is None and not step.proposed:
            self._pace.record_step(writers + step.riders, step.reads, decoding)
        if pictured is None and self.keeping is not None:
            self.keeping.record_step(step, decoding)
        totals.steps += 1
        totals.proposed_tokens += step.proposed
        totals.decode_seconds += decoding
        beside = time.perf_counter() - started - decoding
        totals.engine_seconds += beside
        if speculation is not None:
            speculation.record_look(step, len(step.rows) + totals.accepted_tokens - accepted, beside)
        if code == 0 and not self._jobs and self.thread.commands.empty():
            self._run_stretch(step)

    def _decode(self, step: StepPlan, speculation: Speculation | None) -> tuple[int, list[int], float]:
        """Decodes a step, without what is proposed where there is no room for it.

        Returns llama.cpp's code, the places in the batch to sample from, and the seconds that it took.
        """
        context = self.cache.context
        places, fillers = fill_batch(context, step)
        began = time.perf_counter()
        if began >= self._threads.next_look:
            self._look_at_threads(began)
        code = context.decode(step.tokens + step.proposed + len(fillers))
        if code == 1 and speculation is not None and step.proposed:  # no room for what may be wrong
            speculation.withdraw(step)
            places, fillers = fill_batch(context, step)
            code = context.decode(step.tokens + len(fillers))
        seconds = time.perf_counter() - began
        drop_fillers(context, fillers)
        if speculation is not None:
            speculation.record_step(step, seconds)
        return code, places, seconds

    def _decode_image(self, step: StepPlan, row: Row, image: ImageAt) -> bool:
        """Decodes the rows of an image before the other rows of a step; returns whether those are to be decoded too."""
        started = time.perf_counter()
        fits = self.cache.images.decode(self.cache.context, row, image)
        self.calls.totals.decode_seconds += time.perf_counter() - started
        if fits:
            self.cache.scheduler.commit(StepPlan(rows=[row]))
            return bool(step.rows)
        self.cache.scheduler.no_room(step)
        self.calls.finish_full(step.full)
        return False

    def _look_at_threads(self, now: float) -> None:
        threads = self._threads.look(now)
        making = self._growing is not None and self._growing.making
        self.cache.context.use_threads(self._threads.few if making else threads)

    def _run_stretch(self, step: StepPlan) -> None:
        """Repeats a step while the scheduler is sure to plan the same and no command waits."""
        cache, calls = self.cache, self.calls
        most_steps = cache.scheduler.steady(step)
        if self._speculation is not None and not cache.images.calls:
            most_steps = min(most_steps, self._speculation.rest)
        if not most_steps:
            return
        started = time.perf_counter()
        context, handover, look = cache.context, calls.handover, self._threads
        handover.flush(started)
        running = [row.call for row in step.rows]
        tickets = [calls.tickets[call] for call in running]
        stretch = Stretch(self.weights, context, step.rows, tickets, most_steps)
        commands, until, count = self.thread.commands, calls.next_deadline, stretch.count
        fillers, tokens = stretch.fillers, count + len(stretch.fillers)
        decoding = 0.0
        while not stretch.done and commands.empty() and time.monotonic() < until:
            before = time.perf_counter()
            if before >= look.next_look:
                self._look_at_threads(before)
            code = context.decode(tokens)
            taken = time.perf_counter() - before
            drop_fillers(context, fillers)
            decoding += taken
            if code == 1:
                break  # no room: the next plan makes some
            if code:
                raise EngineFailed(f"llama_decode failed with {code}")
            stretch.step(self._writer.add_piece)
            self._pace.record_step(count, (), taken)
            now = time.perf_counter()
            handover.flush_unless_soon(now, now - before)
        if self._speculation is not None and stretch.steps:
            self._speculation.record_stretch(step, decoding / stretch.steps)
        cache.scheduler.repeat(step, stretch.steps, stretch.written())
        for at, ticket in enumerate(tickets):
            end = stretch.ends.get(at)
            outcome = end.outcome if end else "length" if running[at].written >= running[at].room else None
            if isinstance(outcome, LocalModelError):
                calls.fail(ticket, outcome)
            elif outcome is not None:
                calls.finish(ticket, outcome)
        totals = calls.totals
        totals.steps += stretch.steps
        totals.decode_seconds += decoding
        totals.engine_seconds += time.perf_counter() - started - decoding

    # --- counts ---

    def statistics(self) -> dict[str, Any]:
        """Returns the counts of `Statistics`."""
        scheduler, totals, context = self.cache.scheduler, self.calls.totals, self.cache.context
        return {
            "sequences": context.shape.sequences,
            "sequence_tokens": scheduler.limits.slot_tokens,
            "pool": context.shape.tokens,
            "threads": context.threads,
            "running": scheduler.running,
            "waiting": self.calls.waiting,
            "refused": scheduler.counts.refused,
            "preempted": scheduler.counts.preempted,
            "resident_prefix_tokens": scheduler.slots.kept_tokens,
            "evicted_prefix_tokens": scheduler.counts.evicted_tokens,
            "used_tokens": scheduler.slots.held_tokens,
            "finished": totals.finished,
            "failed": totals.failed,
            "cancelled": totals.cancelled,
            "expired": totals.expired,
            "prompt_tokens": totals.prompt_tokens,
            "reused_tokens": totals.reused_tokens,
            "completion_tokens": totals.completion_tokens,
            "proposed_tokens": totals.proposed_tokens,
            "accepted_tokens": totals.accepted_tokens,
            "steps": totals.steps,
            "decode_seconds": totals.decode_seconds,
            "engine_seconds": totals.engine_seconds,
            **(self.keeping.statistics() if self.keeping is not None else {}),
        }
