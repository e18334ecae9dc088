"""The thread that owns a context: takes commands between steps, runs the scheduler's steps, hands out pieces.

Everything a caller does is a command in one queue; everything a caller gets goes to its loop in one call a step. Commands
are run in order, between two steps, so a cancel takes effect within a step's time.
"""

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from local_models.engine.batching import fill_batch, token_score
from local_models.engine.handover import Handover
from local_models.engine.pace import PrefillPace
from local_models.engine.stretch import Stretch
from local_models.engine.text import AnswerText
from local_models.engine.tickets import Ticket, Totals
from local_models.errors import DeadlineExceeded, EngineFailed, LocalModelError, ModelClosed, Overloaded
from local_models.llama import Context, Floats, Sampler, Weights
from local_models.replies import Finish, Piece
from local_models.scheduling.scheduler import Copy, QueueFull, ScheduledCall, Scheduler, SchedulerLimits, StepPlan

logger = logging.getLogger("local_models")


@dataclass(frozen=True, slots=True)
class Job:
    """Long work in slices, each between two steps. `advance` says whether there is more; neither of them raises."""

    advance: Callable[[], bool]
    fail: Callable[[LocalModelError], None]


class Engine:
    """Start it with `start`; every other method may be called from any thread."""

    def __init__(
        self, weights: Weights, context: Context, limits: SchedulerLimits, step_seconds: float, name: str
    ) -> None:
        self.weights, self.context, self.limits = weights, context, limits
        self.scheduler = Scheduler(limits)
        self.totals = Totals()
        self._pace = PrefillPace(step_seconds, limits.batch)
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tickets: dict[ScheduledCall, Ticket] = {}
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._count = itertools.count()
        self._jobs: deque[Job] = deque()
        self._out = Handover()
        self._closing = self._ended = False
        self._broken: LocalModelError | None = None
        self._lock = threading.Lock()
        self._at_end: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._main, name=f"local-model-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # from any thread

    def command(self, run: Callable[[], None]) -> None:
        with self._lock:
            self.require_open()
            self._commands.put(run)

    def submit(self, tickets: Sequence[Ticket]) -> None:
        def run() -> None:
            left = deque(tickets)
            try:
                while left:
                    self._submit(left.popleft())
            finally:  # the engine ends over one of them: the others are not yet among those that are told
                for ticket in left:
                    self._refuse(ticket, EngineFailed("the engine failed over another call"))

        self.command(run)

    def cancel(self, ticket: Ticket) -> None:
        try:
            self.command(lambda: self._cancel(ticket))
        except LocalModelError:
            pass  # closed: it is over anyway

    def job(self, work: "Job") -> None:
        """Something long in slices: one slice between two steps."""
        self.command(lambda: self._jobs.append(work))

    def close(self, at_end: Callable[[], None] | None = None) -> None:
        """Ends every call with `ModelClosed`, frees the context; `at_end` runs when that is done."""
        with self._lock:
            first = not self._closing
            ended = self._ended
            if at_end is not None and not ended:
                self._at_end.append(at_end)
            self._closing = True
        if first:
            self._commands.put(lambda: None)
        if at_end is not None and ended:
            at_end()

    @property
    def closed(self) -> bool:
        return self._closing

    def require_open(self) -> None:
        if self._closing:
            raise self._broken or ModelClosed("the model is closed", hint="load it again")

    def join(self, seconds: float | None = None) -> None:
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    # on the engine's thread

    def _main(self) -> None:
        reason: LocalModelError = ModelClosed("the model was closed under this call")
        try:
            while not self._closing:
                self._turn()
        except LocalModelError as error:
            reason = self._broken = error
        except Exception as error:  # the thread's last word: every caller must hear of it
            logger.exception("the engine of a local model failed")
            reason = self._broken = EngineFailed(f"the engine failed: {error!r}")
        finally:
            self._end(reason)

    def _end(self, reason: LocalModelError) -> None:
        with self._lock:
            self._closing = True
        while True:
            try:
                self._commands.get_nowait()()
            except Empty:
                break
            except Exception:  # whose command it was has been told
                logger.exception("a command of a closing model failed")
        for ticket in list(self._tickets.values()):
            self._fail(ticket, reason)
        for job in self._jobs:
            job.fail(reason)
        self._jobs.clear()
        self._out.flush(time.perf_counter())
        self.context.close()
        with self._lock:
            self._ended = True
        for run in self._at_end:
            run()

    def _turn(self) -> None:
        if self.scheduler.idle and not self._jobs:
            self._commands.get()()
        while True:
            try:
                self._commands.get_nowait()()
            except Empty:
                break
        if self._closing:
            return
        if self._jobs:
            job = self._jobs.popleft()
            if job.advance():
                self._jobs.append(job)
        self._expire()
        if not self.scheduler.idle:
            self._step()
        self._out.flush(time.perf_counter())

    def _submit(self, ticket: Ticket) -> None:
        if ticket.over:
            return
        options = ticket.options
        call = ScheduledCall(
            tokens=list(ticket.tokens),
            room=min(options.max_tokens, self.limits.slot_tokens - len(ticket.tokens)),
            agent=options.agent,
            priority=options.priority,
        )
        try:
            if not ticket.sampling.plain_greedy:
                ticket.sampler = Sampler(self.weights, ticket.sampling)
            ticket.text = AnswerText(options.stop)
            ticket.quiet = not (ticket.pieces or options.stop or options.logprobs >= 0)
            self.scheduler.submit(call)
        except QueueFull:
            self._over(ticket)
            self._out.add(
                ticket,
                Overloaded(
                    f"{self.scheduler.waiting} calls wait for this model already",
                    hint="try again later, or raise `queue`",
                ),
            )
            return
        except LocalModelError as error:
            self._refuse(ticket, error)
            return
        except Exception as error:  # the engine ends over it; this caller is not yet among those that are told
            self._refuse(ticket, EngineFailed(f"the engine failed: {error!r}"))
            raise
        ticket.call = call
        self._tickets[call] = ticket
        self.totals.prompt_tokens += len(ticket.tokens)
        heapq.heappush(self._deadlines, (ticket.deadline, next(self._count), ticket))

    def _refuse(self, ticket: Ticket, error: LocalModelError) -> None:
        self._over(ticket)
        self.totals.failed += 1
        self._out.add(ticket, error)

    def _cancel(self, ticket: Ticket) -> None:
        if not ticket.over:
            self.totals.cancelled += 1
            self._leave(ticket)

    def _expire(self) -> None:
        if len(self._deadlines) > 2 * len(self._tickets) + 64:  # mostly calls that ended long before theirs
            self._deadlines = [entry for entry in self._deadlines if not entry[2].over]
            heapq.heapify(self._deadlines)
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].over):
            ticket = heapq.heappop(self._deadlines)[2]
            if ticket.over or ticket.call is None:
                continue
            self.totals.expired += 1
            self._fail(ticket, DeadlineExceeded(ticket.stage(), ticket.options.within))

    def _step(self) -> None:
        started = time.perf_counter()
        writers = self.scheduler.writers
        readers = self.scheduler.running - writers
        step = self.scheduler.plan(self._pace.allowance(writers, readers), self._pace.price)
        for edit in step.edits:
            if isinstance(edit, Copy):
                self.context.copy(edit.source, edit.target)
            elif not self.context.keep(edit.slot, edit.length) and edit.length:
                raise EngineFailed("this model cannot forget a part of a text; load it again")
        if step.seated:
            now = time.monotonic()
            for call in step.seated:
                ticket = self._tickets[call]
                ticket.began = ticket.began or now
        for call in step.full:
            self._finish(self._tickets[call], "length")
        if not step.rows or step.full:
            return
        last = fill_batch(self.context, step)
        decoding = time.perf_counter()
        code = self.context.decode(step.tokens)
        decoded = time.perf_counter()
        if code == 0:
            sampled = [row.call for row in step.rows if row.samples]
            self.scheduler.commit(step)
            if sampled:
                self._write(sampled, last)
        elif code == 1:
            self.scheduler.no_room(step)
            for call in step.full:
                self._finish(self._tickets[call], "length")
        else:
            raise EngineFailed(f"llama_decode failed with {code}")
        self._pace.learn(writers, step.reads, decoded - decoding)
        totals = self.totals
        totals.steps += 1
        totals.decode_seconds += decoded - decoding
        totals.engine_seconds += time.perf_counter() - started - (decoded - decoding)
        if code == 0 and not self._jobs and self._commands.empty():
            self._go_on(step)

    def _go_on(self, step: StepPlan) -> None:
        """Steps like this one for as long as they are sure to be, and nobody wants anything."""
        most = self.scheduler.steady(step)
        if not most:
            return
        started = time.perf_counter()
        self._out.flush(started)
        calls = [row.call for row in step.rows]
        tickets = [self._tickets[call] for call in calls]
        stretch = Stretch(self.weights, self.context, step.rows, tickets, most)
        commands, until, count = self._commands, self._deadlines[0][0], stretch.count
        decoding = 0.0
        while not stretch.over and commands.empty() and time.monotonic() < until:
            before = time.perf_counter()
            code = self.context.decode(count)
            taken = time.perf_counter() - before
            decoding += taken
            if code == 1:
                break  # the next plan makes room
            if code:
                raise EngineFailed(f"llama_decode failed with {code}")
            stretch.step(self._show)
            self._pace.learn(count, (), taken)
            now = time.perf_counter()
            self._out.flush_unless_soon(now, now - before)
        self.scheduler.repeat(step, stretch.steps, stretch.written())
        for at, ticket in enumerate(tickets):
            end = stretch.ends.get(at)
            how = end.how if end else "length" if calls[at].written >= calls[at].room else None
            if isinstance(how, LocalModelError):
                self._fail(ticket, how)
            elif how is not None:
                self._finish(ticket, how)
        totals = self.totals
        totals.steps += stretch.steps
        totals.decode_seconds += decoding
        totals.engine_seconds += time.perf_counter() - started - decoding

    def _write(self, sampled: list[ScheduledCall], places: list[int]) -> None:
        """Samples a token for every call whose text has been computed to its end, and moves it on."""
        logits = self.context.logits(len(sampled))
        plain = any(self._tickets[call].sampler is None for call in sampled)
        best: list[int] = logits.argmax(axis=1).tolist() if plain else []
        ends, write = self.weights.ends, self.scheduler.write
        now = time.monotonic()
        for index, call in enumerate(sampled):
            ticket = self._tickets[call]
            try:
                token = (
                    best[index]
                    if ticket.sampler is None
                    else ticket.sampler.sample(self.context, places[index], logits[index])
                )
            except LocalModelError as error:
                self._fail(ticket, error)
                continue
            if not ticket.first:
                ticket.first = now
                self._out.begins()
                self.totals.reused_tokens += call.reused
            if token in ends:
                self._finish(ticket, "stop")
                continue
            write(call, token)
            last = call.written >= call.room
            if ticket.quiet:  # nobody reads along: the text is made at the end
                finish: Finish | None = "length" if last else None
            else:
                finish = self._show(ticket, token, logits[index], last)
            if finish is not None:
                self._finish(ticket, finish)

    def _show(self, ticket: Ticket, token: int, logits: Floats, last: bool) -> Finish | None:
        """A token's piece goes out, or is kept for the end; says how the call ends, if it does."""
        text = ticket.text.feed(self.weights.piece(token))
        wanted = ticket.options.logprobs
        scores = (token_score(self.weights, token, logits, wanted),) if wanted >= 0 else ()
        stopped = ticket.text.stopped
        if ticket.pieces and not stopped and not last:
            self._out.add(ticket, Piece(text=text, tokens=(token,), scores=scores))
            return None
        ticket.kept_text.append(text)
        ticket.kept_tokens.append(token)
        ticket.kept_scores += scores
        if stopped:
            return "stop"
        return "length" if last else None

    # the ends of a call

    def _finish(self, ticket: Ticket, finish: Finish) -> None:
        call = ticket.call
        assert call is not None
        self.totals.finished += 1
        self.totals.completion_tokens += call.written
        self._out.add(ticket, ticket.last(self.weights, finish, time.monotonic()))
        self._leave(ticket)

    def _fail(self, ticket: Ticket, error: LocalModelError) -> None:
        if not isinstance(error, DeadlineExceeded):
            self.totals.failed += 1
        self._out.add(ticket, error)
        self._leave(ticket)

    def _leave(self, ticket: Ticket) -> None:
        call = ticket.call
        if call is not None and self._tickets.pop(call, None) is not None:
            self.scheduler.finish(call)
        self._over(ticket)

    def _over(self, ticket: Ticket) -> None:
        ticket.over = True
        if ticket.sampler is not None:
            ticket.sampler.close()
            ticket.sampler = None

    # commands of the model, run on the engine's thread

    def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        """What is kept of a conversation that begins with these tokens: all its tokens, and their KV state."""
        slot, held = self.scheduler.kept(tokens)
        if slot < 0:
            return (), b""
        return held, self.context.save(slot)

    def restore(self, tokens: list[int], state: bytes) -> bool:
        slot = self.scheduler.adopt(tokens)
        for edit in self.scheduler.edits():
            assert not isinstance(edit, Copy)
            self.context.keep(edit.slot, edit.length)
        if slot < 0:
            return False
        if self.context.restore(slot, state) and self.context.length(slot) == len(tokens):
            return True
        self.scheduler.disown(slot)
        return False

    def adapters(self, chosen: list[tuple[int, float]]) -> None:
        self.context.adapters(chosen)
        self.scheduler.start_over()

    def statistics(self) -> dict[str, Any]:
        scheduler, totals = self.scheduler, self.totals
        return {
            "running": scheduler.running,
            "waiting": scheduler.waiting,
            "refused": scheduler.counts.refused,
            "preempted": scheduler.counts.preempted,
            "resident_prefix_tokens": scheduler.kept_tokens,
            "evicted_prefix_tokens": scheduler.counts.evicted_tokens,
            "finished": totals.finished,
            "failed": totals.failed,
            "cancelled": totals.cancelled,
            "expired": totals.expired,
            "prompt_tokens": totals.prompt_tokens,
            "reused_tokens": totals.reused_tokens,
            "completion_tokens": totals.completion_tokens,
            "steps": totals.steps,
            "decode_seconds": totals.decode_seconds,
            "engine_seconds": totals.engine_seconds,
        }
