"""Engine: the thread that owns a context, runs commands and the scheduler's steps, and delivers pieces.

Callers send commands through one queue; each event loop receives its pieces in one call per step. Commands run in order
between two steps, so that a cancel takes effect within the time of a step.
"""

import atexit
import heapq
import itertools
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from local_models.engine.batching import drop_fillers, fill_batch, token_score
from local_models.engine.growth import Growth
from local_models.engine.handover import Handover
from local_models.engine.images import ImageAt, lag_at, take_image
from local_models.engine.keeping import Keeping
from local_models.engine.long_calls import LongCalls, held_piece, no_room_for
from local_models.engine.pace import CHECK, PrefillPace, ThreadPace
from local_models.engine.stretch import Stretch
from local_models.engine.text import AnswerText
from local_models.engine.tickets import Ticket, Totals
from local_models.errors import DeadlineExceeded, EngineFailed, LocalModelError, ModelClosed, Overloaded
from local_models.kept.prompts import KeptPrompts
from local_models.llama import Context, Floats, Sampler, Weights
from local_models.llama.other_programs import seconds_of_other_programs
from local_models.replies import Finish, Piece
from local_models.scheduling.scheduler import (
    Copy,
    Keep,
    QueueFull,
    Row,
    ScheduledCall,
    Scheduler,
    SchedulerLimits,
    StepPlan,
)
from local_models.speculation import Speculation

logger = logging.getLogger("local_models")
STATE_SECONDS = 0.05  # longest wait for a kept state between two looks at deadlines
EXIT_SECONDS = 10.0  # longest wait for a step in progress when the program ends
MOST_LAGS = 4096  # images that are remembered, before those in no slot are forgotten
_running: "weakref.WeakSet[Engine]" = weakref.WeakSet()


@atexit.register
def _end_at_exit() -> None:
    """Ends the engines before the interpreter does: a thread that is stopped inside of C++ code ends the process."""
    engines = list(_running)
    for engine in engines:
        engine.close()
    until = time.monotonic() + EXIT_SECONDS
    for engine in engines:
        engine.join(max(until - time.monotonic(), 0))


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

    `command`, `submit`, `cancel`, `job`, `close` and `join` may be called from any thread. `save`, `restore`,
    `adapters` and `statistics` run on the engine's thread, as commands.
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
        self.weights, self.context, self.limits = weights, context, limits
        self.scheduler = Scheduler(limits)
        self.totals = Totals()
        self._growth = growth
        self._long = LongCalls(growth.longest if growth is not None else limits.slot_tokens)
        self.keeping = Keeping(kept, step_seconds, self.command) if kept is not None else None
        if self.keeping is not None:
            self.scheduler.restorable = self.keeping.restorable
        self._speculation = speculation
        self._adapters: Sequence[tuple[int, float]] = ()
        self._pace = PrefillPace(step_seconds, limits.batch)
        few, most = threads or (context.shape.threads, context.shape.threads)
        self._few = few
        self._threads = ThreadPace(few, most) if few != most else None
        self._next_look = 0.0 if self._threads else float("inf")
        self._loop_clocks: dict[int, int] = {}  # thread of an event loop -> clock of its processor time
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._tickets: dict[ScheduledCall, Ticket] = {}
        self._images: dict[ScheduledCall, Sequence[ImageAt]] = {}  # of calls that have some
        self._lags: dict[int, int] = {}  # last row of an image -> positions that it takes less than rows
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._ticket_numbers = itertools.count()
        self._jobs: deque[Job] = deque()
        self._handover = Handover()
        self._closing = self._has_ended = False
        self._failure: LocalModelError | None = None
        self._lock = threading.Lock()
        self._on_end: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._main, name=f"local-model-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        _running.add(self)
        self._thread.start()

    # --- from any thread ---

    def command(self, run: Callable[[], None]) -> None:
        """Runs `run` on the engine's thread between two steps; raises the error of `require_open`."""
        with self._lock:
            self.require_open()
            self._commands.put(run)

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Starts calls together; an error of one of them is delivered to its caller."""

        def run() -> None:
            remaining = deque(tickets)
            try:
                while remaining:
                    ticket = remaining.popleft()
                    heapq.heappush(self._deadlines, (ticket.deadline, next(self._ticket_numbers), ticket))
                    self._accept(ticket)
            finally:  # one of them ended the engine: the rest have no call yet and would never be answered
                for ticket in remaining:
                    self._reject(ticket, EngineFailed("the engine failed over another call"))

        self.command(run)

    def cancel(self, ticket: Ticket) -> None:
        """Ends a call without a last piece or an error; does nothing if the call has ended."""
        try:
            self.command(lambda: self._cancel(ticket))
        except LocalModelError:
            pass  # closed: the call has ended

    def job(self, work: Job) -> None:
        """Adds long work that runs in slices between steps."""
        self.command(lambda: self._jobs.append(work))

    def close(self, on_end: Callable[[], None] | None = None) -> None:
        """Ends every call with `ModelClosed` and frees the context; `on_end` runs after that."""
        with self._lock:
            first = not self._closing
            has_ended = self._has_ended
            if on_end is not None and not has_ended:
                self._on_end.append(on_end)
            self._closing = True
        if first:
            self._commands.put(lambda: None)
        if on_end is not None and has_ended:
            on_end()

    @property
    def closed(self) -> bool:
        """Whether the engine has ended or is about to."""
        return self._closing

    @property
    def ended(self) -> bool:
        """Whether the thread has freed the context, so that `close` runs its `on_end` at once."""
        return self._has_ended

    def require_open(self) -> None:
        """Raises `ModelClosed`, or the failure that ended the engine, if it is closed."""
        if self._closing:
            raise self._failure or ModelClosed("the model is closed", hint="load it again")

    def join(self, seconds: float | None = None) -> None:
        """Waits for the thread to end."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    def watch_thread(self, thread: int) -> None:
        """Counts the processor time of a thread, by its identifier, as that of an event loop."""
        if self._threads is not None and thread != self._thread.ident:
            try:
                self._loop_clocks[thread] = time.pthread_getcpuclockid(thread)
            except (AttributeError, OSError):  # not on this system: a core is left at all times
                self._threads = None
                self.command(lambda: self.context.use_threads(self.context.shape.threads))

    # --- on the engine's thread ---

    def _look_at_loops(self, now: float) -> None:
        """Chooses the threads that compute by the processor time of the event loops."""
        self._next_look = now + CHECK
        pace = self._threads
        if pace is None:
            self._next_look = float("inf")
            return
        seconds = seconds_of_other_programs()
        for thread, clock in list(self._loop_clocks.items()):
            try:
                seconds += time.clock_gettime(clock)
            except OSError:  # the thread has ended
                self._loop_clocks.pop(thread, None)
        threads = pace.look(now, seconds)
        self.context.use_threads(self._few if self._growth is not None and self._growth.making else threads)

    def _main(self) -> None:
        reason: LocalModelError = ModelClosed("the model was closed under this call")
        try:
            while not self._closing:
                self._run_turn()
        except LocalModelError as error:
            reason = self._failure = error
        except Exception as error:  # every caller gets this error
            logger.exception("the engine of a local model failed")
            reason = self._failure = EngineFailed(f"the engine failed: {error!r}")
        finally:
            self._shut_down(reason)

    def _shut_down(self, reason: LocalModelError) -> None:
        with self._lock:
            self._closing = True
        while True:
            try:
                self._commands.get_nowait()()
            except Empty:
                break
            except Exception:  # the command has reported its error to its caller
                logger.exception("a command of a closing model failed")
        for ticket in (*self._tickets.values(), *self._long.tickets()):
            self._fail(ticket, reason)
        for job in self._jobs:
            job.fail(reason)
        self._jobs.clear()
        self._handover.flush(time.perf_counter())
        if self.keeping is not None:
            self.keeping.close(self.context, self.scheduler, save=isinstance(reason, ModelClosed))
        self.context.close()
        if self._speculation is not None:
            self._speculation.close()
        with self._lock:
            self._has_ended = True
        for run in self._on_end:
            run()

    def _run_turn(self) -> None:
        if self.scheduler.idle and not self._jobs and not (self.keeping is not None and self.keeping.pending):
            self._await_command(self._deadlines[0][0] - time.monotonic() if len(self._long) else None)
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
            self._run_step()
        self._handover.flush(time.perf_counter())
        if self.keeping is not None:
            self.keeping.work(self.context, self.scheduler, hurried=not self._commands.empty())

    def _accept(self, ticket: Ticket, waits: bool = True) -> None:
        """Submits a call; `waits`: for a longer sequence, where it needs one."""
        if ticket.ended:
            return
        options = ticket.options
        if waits and self._lacks_length(self._long.length(ticket)):
            if len(self._long) < self.limits.queue:
                self._wait_for_length(ticket)
            else:
                self._overloaded(ticket)
            return
        if len(ticket.tokens) >= self.limits.slot_tokens:
            self._reject(ticket, no_room_for(len(ticket.tokens), self.limits.slot_tokens))
            return
        call = ScheduledCall(
            tokens=list(ticket.tokens),
            room=min(options.max_tokens, self.limits.slot_tokens - len(ticket.tokens)),
            agent=options.agent,
            priority=options.priority,
            seeded=options.seed is not None,
        )
        try:
            if ticket.sampler is None and not ticket.sampling.plain_greedy:
                ticket.sampler = Sampler(self.weights, ticket.sampling)
            ticket.text = AnswerText(options.stop)
            ticket.whole_only = not (ticket.pieces or options.stop or options.logprobs >= 0)
            self.scheduler.submit(call)
        except QueueFull:
            self._overloaded(ticket)
            return
        except LocalModelError as error:
            self._reject(ticket, error)
            return
        except Exception as error:  # it ends the engine, and this ticket has no call yet
            self._reject(ticket, EngineFailed(f"the engine failed: {error!r}"))
            raise
        ticket.call = call
        self._tickets[call] = ticket
        if ticket.images:
            self._images[call] = ticket.images
            if len(self._lags) > MOST_LAGS:
                held = {token for slot in range(self.limits.slots) for token in self.scheduler.text(slot)}
                self._lags = {last: lag for last, lag in self._lags.items() if last in held}
            self._lags |= {image.rows.stand_ins[-1]: image.rows.lag for image in ticket.images if image.rows.lag}
        self.totals.prompt_tokens += len(ticket.tokens)

    def _overloaded(self, ticket: Ticket) -> None:
        waiting = self.scheduler.waiting + len(self._long)
        self._mark_ended(ticket)
        self._handover.add(
            ticket,
            Overloaded(f"{waiting} calls wait for this model already", hint="try again later, or raise `queue`"),
        )

    def _reject(self, ticket: Ticket, error: LocalModelError) -> None:
        self._mark_ended(ticket)
        self.totals.failed += 1
        self._handover.add(ticket, error)

    def _cancel(self, ticket: Ticket) -> None:
        if not ticket.ended:
            self.totals.cancelled += 1
            self._drop(ticket)

    def _expire(self) -> None:
        if len(self._deadlines) > 2 * (len(self._tickets) + len(self._long)) + 64:  # mostly calls that have ended
            self._deadlines = [entry for entry in self._deadlines if not entry[2].ended]
            heapq.heapify(self._deadlines)
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].ended):
            ticket = heapq.heappop(self._deadlines)[2]
            if not ticket.ended:
                self.totals.expired += 1
                self._fail(ticket, DeadlineExceeded(ticket.stage(), ticket.options.within))

    def _run_step(self) -> None:
        started = time.perf_counter()
        writers = self.scheduler.writers
        readers = self.scheduler.running - writers
        step = self.scheduler.plan(self._pace.allowance(writers, readers), self._pace.price)
        if self._growth is not None:
            self._grow(self._growth)
        for edit in step.edits:
            if isinstance(edit, Copy):
                self.context.copy(edit.source, edit.target)
            elif not self.context.keep(edit.slot, self._position(edit)) and edit.length:
                raise EngineFailed("this model cannot forget a part of a text; load it again")
        if step.seated:
            now = time.monotonic()
            for call in step.seated:
                ticket = self._tickets[call]
                ticket.seated = ticket.seated or now
            if self.keeping is not None:
                self.keeping.order(step.seated, self.context)
        for call in step.full:
            self._finish(self._tickets[call], "length")
        if not step.rows or step.full:
            if self.scheduler.restoring and not step.full:
                self._await_command(STATE_SECONDS)  # deadlines are looked at
            return
        pictured = take_image(step, self._images) if self._images else None
        if self._images:
            for row in step.rows:
                row.call.lag = lag_at(self._images.get(row.call, ()), row.start)
        if pictured is not None and not self._decode_image(step, *pictured):
            return
        speculation = self._speculation if not self._images else None  # what stands for images is no token
        accepted = self.totals.accepted_tokens
        if speculation is not None and (spare := self.scheduler.spare(step)) > 0:
            speculation.propose(step, spare, self.context.threads)
        last, fillers = fill_batch(self.context, step)
        decoding = time.perf_counter()
        if decoding >= self._next_look:
            self._look_at_loops(decoding)
        code = self.context.decode(step.tokens + step.proposed + len(fillers))
        if code == 1 and speculation is not None and step.proposed:  # no room for what may be wrong
            speculation.withdraw(step)
            last, fillers = fill_batch(self.context, step)
            code = self.context.decode(step.tokens + len(fillers))
        decoded = time.perf_counter()
        drop_fillers(self.context, fillers)
        if speculation is not None:
            speculation.record_step(step, decoded - decoding)
        if code == 0:
            sampled = [row for row in step.rows if row.samples]
            self.scheduler.commit(step)
            if sampled:
                self._sample_tokens(sampled, last)
        elif code == 1:
            self.scheduler.no_room(step)
            for call in step.full:
                self._finish(self._tickets[call], "length")
        else:
            raise EngineFailed(f"llama_decode failed with {code}")
        if pictured is None and not step.proposed:
            self._pace.record_step(writers + step.riders, step.reads, decoded - decoding)
        if pictured is None and self.keeping is not None:
            self.keeping.record_step(step, decoded - decoding)
        totals = self.totals
        totals.steps += 1
        totals.proposed_tokens += step.proposed
        totals.decode_seconds += decoded - decoding
        beside = time.perf_counter() - started - (decoded - decoding)
        totals.engine_seconds += beside
        if speculation is not None:
            speculation.record_look(step, len(step.rows) + totals.accepted_tokens - accepted, beside)
        if code == 0 and not self._jobs and self._commands.empty():
            self._run_stretch(step)

    def _position(self, edit: Keep) -> int:
        """The position behind the tokens that a slot keeps."""
        if not self._lags or not edit.length:
            return edit.length
        kept = self.scheduler.text(edit.slot)[: edit.length]
        return edit.length - sum([self._lags.get(token, 0) for token in kept if token < 0])

    def _decode_image(self, step: StepPlan, row: Row, image: ImageAt) -> bool:
        """Decodes the rows of an image before the other rows of a step; returns whether those are to be decoded too."""
        started = time.perf_counter()
        call, rows, at = row.call, image.rows, row.start - image.start
        call.lag = lag_at(self._images[call], row.start)
        start = row.start if rows.places is None else image.start - call.lag
        places = None if rows.places is None else rows.places[:, at:]
        code = self.context.decode_rows(call.slot, start, rows.rows[at:], causal=rows.causal, places=places)
        self.totals.decode_seconds += time.perf_counter() - started
        if code == 0:
            self.scheduler.commit(StepPlan(rows=[row]))
            return bool(step.rows)
        if code != 1:
            raise EngineFailed(f"llama_decode failed with {code}")
        self.context.keep(call.slot, row.start - call.lag)
        self.scheduler.no_room(step)
        for full in step.full:
            self._finish(self._tickets[full], "length")
        return False

    def _await_command(self, seconds: float | None) -> None:
        """Waits for a command, as no call can go on before one; None: for as long as it takes."""
        with suppress(Empty):
            self._commands.get(timeout=None if seconds is None else max(seconds, 0))()

    def _grow(self, growth: Growth) -> None:
        """Asks for a wider context where the calls, or the texts that are kept, need one."""
        scheduler, long = self.scheduler, self._long
        needed, length = scheduler.running + scheduler.waiting + len(long), long.needed()
        displaced = scheduler.counts.displaced
        slots = scheduler.limits.slots
        growth.consider(slots, needed, displaced, self._offer, length, self._go_on_as_it_is)
        if needed > slots and not length and growth.may_shorten(slots):
            longest = max(self._long.length(ticket, call) for call, ticket in self._tickets.items())
            growth.shorten(slots, needed, longest, self._offer, self._go_on_as_it_is)
        if growth.making:
            self.context.use_threads(self._few)

    # --- calls that need longer sequences ---

    def _lacks_length(self, tokens: int) -> bool:
        """Whether sequences are shorter than so many tokens, and may get longer."""
        return tokens > self.limits.slot_tokens and self._growth is not None and self._growth.may_lengthen()

    def _wait_for_length(self, ticket: Ticket) -> None:
        self._long.add(ticket)
        if self._growth is not None:
            self._grow(self._growth)

    def _go_on_as_it_is(self) -> None:
        """Lets the calls that wait for longer sequences go on without; from any thread."""
        with suppress(LocalModelError):  # closed: they are told
            self.command(lambda: self._resume_long(waits=False))

    def _resume_long(self, *, waits: bool) -> None:
        """Goes on with the calls that waited for longer sequences; `waits`: or waits on for still longer ones."""
        for ticket in self._long.tickets():
            self._long.drop(ticket)
            call = ticket.call
            if call is None:
                self._accept(ticket, waits)
            elif waits and self._lacks_length(self._long.length(ticket, call)):
                self._wait_for_length(ticket)
            else:
                call.room = self._room_of(ticket, call)
                if call.written >= call.room:
                    self._finish(ticket, "length")
                else:
                    self._tickets[call] = ticket
                    self.scheduler.resume(call)

    def _room_of(self, ticket: Ticket, call: ScheduledCall) -> int:
        """Returns the most tokens that a call may write in a sequence as long as they are now."""
        return min(self._long.most(ticket), self.limits.slot_tokens - call.prompt)

    def _offer(self, wider: Context) -> None:
        """Takes a wider context from the thread that made it; raises the error of `require_open`."""
        self.command(lambda: self._adopt(wider))

    def _adopt(self, wider: Context) -> None:
        """Goes on in another context, with what the sequences hold; what cannot be taken over is computed again.

        Where it refuses the adapters, the engine goes on in its present one.
        """
        if self._closing:
            wider.close()
            return
        narrow, slots, growth = self.context, self.scheduler.limits.slots, self._growth
        if any(len(call.tokens) >= wider.sequence_tokens for call in self._tickets):  # longer since it was begun
            wider.close()
            if growth is not None:
                growth.put_off()
            return
        try:
            if self._adapters:
                wider.adapters(self._adapters)
            wider.use_threads(self._threads.threads if self._threads is not None else narrow.threads)
            self.scheduler.evict_longer(wider.sequence_tokens)
            stay = [slot for slot in range(min(slots, wider.shape.sequences)) if self.scheduler.holds_any(slot)]
            taken = all(wider.take_over(narrow, slot) for slot in stay if narrow.length(slot))
        except LocalModelError as error:
            wider.close()
            if growth is not None:
                growth.declined()
            self._resume_long(waits=False)
            logger.warning("a local model stays at %d sequences: %s", slots, error)
            return
        except BaseException:
            wider.close()
            raise
        if not taken:
            wider.clear()
            self.scheduler.start_over()
        self.context = wider
        narrow.close()
        self.scheduler.reshape(wider.shape.sequences, min(wider.sequence_tokens, self._long.longest))
        self.limits = self.scheduler.limits
        for call, ticket in self._tickets.items():
            call.room = self._room_of(ticket, call)
        if growth is not None:
            growth.adopted()
        self._resume_long(waits=True)

    def _run_stretch(self, step: StepPlan) -> None:
        """Repeats a step while the scheduler is sure to plan the same and no command waits."""
        most_steps = self.scheduler.steady(step)
        if self._speculation is not None and not self._images:
            most_steps = min(most_steps, self._speculation.rest)
        if not most_steps:
            return
        started = time.perf_counter()
        self._handover.flush(started)
        calls = [row.call for row in step.rows]
        tickets = [self._tickets[call] for call in calls]
        stretch = Stretch(self.weights, self.context, step.rows, tickets, most_steps)
        commands, until, count = self._commands, self._deadlines[0][0], stretch.count
        fillers, tokens = stretch.fillers, count + len(stretch.fillers)
        decoding = 0.0
        while not stretch.done and commands.empty() and time.monotonic() < until:
            before = time.perf_counter()
            if before >= self._next_look:
                self._look_at_loops(before)
            code = self.context.decode(tokens)
            taken = time.perf_counter() - before
            drop_fillers(self.context, fillers)
            decoding += taken
            if code == 1:
                break  # no room: the next plan makes some
            if code:
                raise EngineFailed(f"llama_decode failed with {code}")
            stretch.step(self._add_piece)
            self._pace.record_step(count, (), taken)
            now = time.perf_counter()
            self._handover.flush_unless_soon(now, now - before)
        if self._speculation is not None and stretch.steps:
            self._speculation.record_stretch(step, decoding / stretch.steps)
        self.scheduler.repeat(step, stretch.steps, stretch.written())
        for at, ticket in enumerate(tickets):
            end = stretch.ends.get(at)
            outcome = end.outcome if end else "length" if calls[at].written >= calls[at].room else None
            if isinstance(outcome, LocalModelError):
                self._fail(ticket, outcome)
            elif outcome is not None:
                self._finish(ticket, outcome)
        totals = self.totals
        totals.steps += stretch.steps
        totals.decode_seconds += decoding
        totals.engine_seconds += time.perf_counter() - started - decoding

    def _sample_tokens(self, sampled: list[Row], places: list[int]) -> None:
        """Samples tokens for each call whose text is computed to its end, and adds them to the text."""
        logits = self.context.logits(len(places))
        any_greedy = any(self._tickets[row.call].sampler is None for row in sampled)
        likeliest: list[int] = logits.argmax(axis=1).tolist() if any_greedy else []
        now, at = time.monotonic(), 0
        for row in sampled:
            slot, proposed = row.call.slot, row.proposed
            self._sample_row(row, at, places, logits, likeliest, now)
            at += 1 + len(proposed)
            if proposed and not self.context.keep(slot, row.call.computed):  # what was not accepted
                raise EngineFailed("this model cannot forget a part of a text", hint='load it with speculate="off"')

    def _sample_row(
        self, row: Row, at: int, places: list[int], logits: Floats, likeliest: list[int], now: float
    ) -> None:
        """Samples a token of one call, and one more behind each proposed token that is what was sampled for its place.

        Each token is sampled by the call's own sampler, in order, from the scores behind exactly the tokens that the
        call has: with seed, penalties and grammar it is the same token as without any proposals.
        """
        call, ends = row.call, self.weights.ends
        ticket = self._tickets[call]
        for index, proposed in enumerate((*row.proposed, -1), at):
            try:
                token = (
                    likeliest[index]
                    if ticket.sampler is None
                    else ticket.sampler.sample(self.context, places[index], logits[index])
                )
            except LocalModelError as error:
                self._fail(ticket, error)
                return
            if not ticket.first_token:
                ticket.first_token = now
                self._handover.begins()
                self.totals.reused_tokens += call.reused
            if token in ends:
                self._finish(ticket, "stop")
                return
            self.scheduler.write(call, token)
            last = call.written >= call.room
            if ticket.whole_only:  # no reader of pieces: the text is made at the end
                finish: Finish | None = "length" if last else None
            else:
                finish = self._add_piece(ticket, token, logits[index], last)
            if finish is not None:
                self._finish(ticket, finish)
                return
            if token != proposed:
                return
            self.scheduler.accept(call)
            self.totals.accepted_tokens += 1

    def _add_piece(self, ticket: Ticket, token: int, logits: Floats, last: bool) -> Finish | None:
        """Adds the piece of a token to the handover, or holds it for the last one; returns how the call ends, if so."""
        text = ticket.text.feed(self.weights.piece(token) or ticket.sampling.shown.get(token, b""))
        wanted = ticket.options.logprobs
        scores = (token_score(self.weights, token, logits, wanted),) if wanted >= 0 else ()
        stopped = ticket.text.stopped
        if ticket.pieces and not stopped and not last:
            self._handover.add(ticket, Piece(text=text, tokens=(token,), scores=scores))
            return None
        ticket.held_text.append(text)
        ticket.held_tokens.append(token)
        ticket.held_scores += scores
        if stopped:
            return "stop"
        return "length" if last else None

    # --- ends of a call ---

    def _finish(self, ticket: Ticket, finish: Finish) -> None:
        call = ticket.call
        assert call is not None
        if finish == "length" and call.written < self._long.most(ticket) and self._goes_on_longer(ticket, call):
            return
        self.totals.finished += 1
        self.totals.completion_tokens += call.written
        self._handover.add(ticket, ticket.last_piece(self.weights, finish, time.monotonic()))
        self._drop(ticket)

    def _goes_on_longer(self, ticket: Ticket, call: ScheduledCall) -> bool:
        """Takes a call that has filled its sequence out of the schedule, until sequences are longer; False: they are
        not to be."""
        if call not in self._tickets or not self._lacks_length(self._long.length(ticket, call)):
            return False
        del self._tickets[call]
        self.scheduler.finish(call)  # what it holds is kept, and found again
        if ticket.pieces:
            self._handover.add(ticket, held_piece(ticket))
        self._wait_for_length(ticket)
        return True

    def _fail(self, ticket: Ticket, error: LocalModelError) -> None:
        if not isinstance(error, DeadlineExceeded):
            self.totals.failed += 1
        self._handover.add(ticket, error)
        self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        call = ticket.call
        self._long.drop(ticket)
        if call is not None:
            self._images.pop(call, None)
            if self._speculation is not None:
                self._speculation.forget(call)
            if self._tickets.pop(call, None) is not None:
                slot = call.slot
                self.scheduler.finish(call)
                if self.keeping is not None and slot >= 0:
                    self.keeping.ended(call, slot)
        self._mark_ended(ticket)

    def _mark_ended(self, ticket: Ticket) -> None:
        ticket.ended = True
        if ticket.sampler is not None:
            ticket.sampler.close()
            ticket.sampler = None

    # --- commands, on the engine's thread ---

    def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        """Returns the kept text that shares most with `tokens`, and its KV state; `((), b"")` where there is none."""
        slot, held = self.scheduler.kept(tokens)
        if slot < 0:
            return (), b""
        return held, self.context.save(slot)

    def restore(self, tokens: list[int], state: bytes) -> bool:
        """Puts a KV state into a free slot; False: there is no room, or llama.cpp does not take it."""
        slot = self.scheduler.adopt(tokens)
        for edit in self.scheduler.edits():
            assert not isinstance(edit, Copy)
            self.context.keep(edit.slot, edit.length)
        if slot < 0:
            return False
        if self.context.restore(slot, state) and self.context.length(slot) == self._position(Keep(slot, len(tokens))):
            return True
        self.scheduler.disown(slot)
        return False

    def adapters(self, chosen: list[tuple[int, float]]) -> None:
        """Replaces the adapters, each a pointer and its scale; all texts are computed again."""
        self.context.adapters(chosen)
        self._adapters = chosen
        self.scheduler.start_over()

    def statistics(self) -> dict[str, Any]:
        """Returns the counts of `Statistics`."""
        scheduler, totals, shape = self.scheduler, self.totals, self.context.shape
        return {
            "sequences": shape.sequences,
            "sequence_tokens": self.limits.slot_tokens,
            "pool": shape.tokens,
            "threads": self.context.threads,
            "running": scheduler.running,
            "waiting": scheduler.waiting + len(self._long),
            "refused": scheduler.counts.refused,
            "preempted": scheduler.counts.preempted,
            "resident_prefix_tokens": scheduler.kept_tokens,
            "evicted_prefix_tokens": scheduler.counts.evicted_tokens,
            "used_tokens": scheduler.held_tokens,
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
