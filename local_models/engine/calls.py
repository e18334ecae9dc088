"""Open calls: those that an engine answers, from their arrival to their end; their deadlines, and the counts of all.

A call is a ticket, and a scheduled call once there is a sequence for it that is long enough. It ends once: with its
last piece, with an error, or without either where its caller has left.
"""

import heapq
import itertools
import time
from collections import deque
from collections.abc import Sequence

from local_models.engine.cache import KvCache
from local_models.engine.handover import Handover
from local_models.engine.keeping import Keeping
from local_models.engine.long_calls import LongCalls, held_piece, no_room_for
from local_models.engine.text import AnswerText
from local_models.engine.tickets import Ticket, Totals
from local_models.errors import DeadlineExceeded, EngineFailed, LocalModelError, Overloaded
from local_models.llama import Sampler, Weights
from local_models.replies import Finish
from local_models.scheduling.plan import ScheduledCall
from local_models.scheduling.scheduler import QueueFull
from local_models.speculation import Speculation


class OpenCalls:
    """The calls of one engine, used by its thread alone.

    `tickets` are those of calls that the scheduler has, `long` those that wait for a longer sequence. `handover` takes
    what calls are told.
    """

    def __init__(
        self,
        weights: Weights,
        cache: KvCache,
        long: LongCalls,
        keeping: Keeping | None,
        speculation: Speculation | None,
    ) -> None:
        self._weights, self._cache, self._scheduler = weights, cache, cache.scheduler
        self._keeping, self._speculation = keeping, speculation
        self.long = long
        self.totals = Totals()
        self.handover = Handover()
        self.tickets: dict[ScheduledCall, Ticket] = {}
        self._deadlines: list[tuple[float, int, Ticket]] = []
        self._numbers = itertools.count()

    # --- arrival ---

    def arrive(self, tickets: Sequence[Ticket]) -> None:
        """Takes calls that begin together; an error of one of them is told to its caller."""
        remaining = deque(tickets)
        try:
            while remaining:
                ticket = remaining.popleft()
                heapq.heappush(self._deadlines, (ticket.deadline, next(self._numbers), ticket))
                self._accept(ticket)
        finally:  # one of them ended the engine: the rest have no call yet and would never be answered
            for ticket in remaining:
                self._reject(ticket, EngineFailed("the engine failed over another call"))

    def _accept(self, ticket: Ticket, waits: bool = True) -> None:
        """Submits a call; `waits`: for a longer sequence, where it needs one."""
        if ticket.ended:
            return
        limits, options = self._scheduler.limits, ticket.options
        if waits and self.long.lacks(self.long.length(ticket), limits.slot_tokens):
            if len(self.long) < limits.queue:
                self.long.add(ticket)
            else:
                self._overloaded(ticket)
            return
        if len(ticket.tokens) >= limits.slot_tokens:
            self._reject(ticket, no_room_for(len(ticket.tokens), limits.slot_tokens))
            return
        call = ScheduledCall(
            tokens=list(ticket.tokens),
            room=min(options.max_tokens, limits.slot_tokens - len(ticket.tokens)),
            agent=options.agent,
            priority=options.priority,
            seeded=options.seed is not None,
        )
        try:
            if ticket.sampler is None and not ticket.sampling.plain_greedy:
                ticket.sampler = Sampler(self._weights, ticket.sampling)
            ticket.text = AnswerText(options.stop)
            ticket.whole_only = not (ticket.pieces or options.stop or options.logprobs >= 0)
            self._scheduler.submit(call)
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
        self.tickets[call] = ticket
        if ticket.images:
            self._cache.images.add(call, ticket.images)
        self.totals.prompt_tokens += len(ticket.tokens)

    @property
    def waiting(self) -> int:
        """Calls that have no sequence yet."""
        return self._scheduler.waiting + len(self.long)

    def _overloaded(self, ticket: Ticket) -> None:
        waiting = self.waiting
        self._mark_ended(ticket)
        self.handover.add(
            ticket,
            Overloaded(f"{waiting} calls wait for this model already", hint="try again later, or raise `queue`"),
        )

    def _reject(self, ticket: Ticket, error: LocalModelError) -> None:
        self._mark_ended(ticket)
        self.totals.failed += 1
        self.handover.add(ticket, error)

    def seat(self, seated: Sequence[ScheduledCall]) -> None:
        """Notes that calls have got their sequences."""
        now = time.monotonic()
        for call in seated:
            ticket = self.tickets[call]
            ticket.seated = ticket.seated or now

    # --- deadlines ---

    @property
    def next_deadline(self) -> float:
        """Time of the next deadline, in seconds of `time.monotonic`."""
        return self._deadlines[0][0] if self._deadlines else float("inf")

    def expire(self) -> None:
        """Ends the calls whose deadlines have passed."""
        if len(self._deadlines) > 2 * (len(self.tickets) + len(self.long)) + 64:  # mostly calls that have ended
            self._deadlines = [entry for entry in self._deadlines if not entry[2].ended]
            heapq.heapify(self._deadlines)
        now = time.monotonic()
        while self._deadlines and (self._deadlines[0][0] <= now or self._deadlines[0][2].ended):
            ticket = heapq.heappop(self._deadlines)[2]
            if not ticket.ended:
                self.totals.expired += 1
                self.fail(ticket, DeadlineExceeded(ticket.stage(), ticket.options.within))

    # --- longer sequences ---

    def resume_long(self, *, waits: bool) -> None:
        """Goes on with the calls that waited for longer sequences; `waits`: or waits on for still longer ones."""
        for ticket in self.long.tickets():
            self.long.drop(ticket)
            call = ticket.call
            if call is None:
                self._accept(ticket, waits)
            elif waits and self._lacks_length(ticket, call):
                self.long.add(ticket)
            else:
                call.room = self._room_of(ticket, call)
                if call.written >= call.room:
                    self.finish(ticket, "length")
                else:
                    self.tickets[call] = ticket
                    self._scheduler.resume(call)

    def measure_rooms(self) -> None:
        """Counts anew what each call may write, in sequences of another length."""
        for call, ticket in self.tickets.items():
            call.room = self._room_of(ticket, call)

    def most_needed(self) -> int:
        """Returns the tokens of a sequence that each call would fit that has one."""
        return max(self.long.length(ticket, call) for call, ticket in self.tickets.items())

    def _lacks_length(self, ticket: Ticket, call: ScheduledCall) -> bool:
        return self.long.lacks(self.long.length(ticket, call), self._scheduler.limits.slot_tokens)

    def _room_of(self, ticket: Ticket, call: ScheduledCall) -> int:
        """Returns the most tokens that a call may write in a sequence as long as they are now."""
        return min(self.long.most(ticket), self._scheduler.limits.slot_tokens - call.prompt)

    def _goes_on_longer(self, ticket: Ticket, call: ScheduledCall) -> bool:
        """Takes a call that has filled its sequence out of the schedule, until sequences are longer; False: they are
        not to be."""
        if call not in self.tickets or not self._lacks_length(ticket, call):
            return False
        del self.tickets[call]
        self._scheduler.finish(call)  # what it holds is kept, and found again
        if ticket.pieces:
            self.handover.add(ticket, held_piece(ticket))
        self.long.add(ticket)
        return True

    # --- ends ---

    def finish(self, ticket: Ticket, finish: Finish) -> None:
        """Ends a call with its last piece; one that could write more in a longer sequence waits for it instead."""
        call = ticket.call
        assert call is not None
        if finish == "length" and call.written < self.long.most(ticket) and self._goes_on_longer(ticket, call):
            return
        self.totals.finished += 1
        self.totals.completion_tokens += call.written
        self.handover.add(ticket, ticket.last_piece(self._weights, finish, time.monotonic()))
        self._drop(ticket)

    def finish_full(self, calls: Sequence[ScheduledCall]) -> None:
        """Ends calls that fill the KV cache."""
        for call in calls:
            self.finish(self.tickets[call], "length")

    def fail(self, ticket: Ticket, error: LocalModelError) -> None:
        """Ends a call with an error."""
        if not isinstance(error, DeadlineExceeded):
            self.totals.failed += 1
        self.handover.add(ticket, error)
        self._drop(ticket)

    def fail_all(self, reason: LocalModelError) -> None:
        """Ends every call with an error."""
        for ticket in (*self.tickets.values(), *self.long.tickets()):
            self.fail(ticket, reason)

    def cancel(self, ticket: Ticket) -> None:
        """Ends a call whose caller has left; does nothing if it has ended."""
        if not ticket.ended:
            self.totals.cancelled += 1
            self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        call = ticket.call
        self.long.drop(ticket)
        if call is not None:
            self._cache.images.calls.pop(call, None)
            if self._speculation is not None:
                self._speculation.forget(call)
            if self.tickets.pop(call, None) is not None:
                slot = call.slot
                self._scheduler.finish(call)
                if self._keeping is not None and slot >= 0:
                    self._keeping.ended(call, slot)
        self._mark_ended(ticket)

    @staticmethod
    def _mark_ended(ticket: Ticket) -> None:
        ticket.ended = True
        if ticket.sampler is not None:
            ticket.sampler.close()
            ticket.sampler = None
