"""Engine of a Hugging Face model: a thread that gives each running call one step in turn.

A step is a part of a prompt or one token, so that a cancel or a deadline acts within one step, and nobody's long answer
keeps others from beginning theirs. Each call has a KV cache of its own, of whatever kind its architecture makes; calls
are not computed together. More calls than `width` wait in a queue of bounded length, by priority and fair shares of
agents.
"""

import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from local_models.errors import DeadlineExceeded, EngineFailed, LocalModelError, ModelClosed, Overloaded
from local_models.replies import Finish
from local_models.scheduling.fairness import FairCallQueue
from local_models.transformers.answer import OpenAnswer
from local_models.transformers.sampling import score_of
from local_models.transformers.torch_model import TorchModel, translate_torch

logger = logging.getLogger("local_models")
# After such an error of a GPU every later use of it fails in this process; another process starts afresh.
_LOST_DEVICE: tuple[type[BaseException], ...] = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()
SWEEP_SECONDS = 0.05  # between two looks at the deadlines of waiting calls


class StepTotals:
    """Counts of all calls so far."""

    def __init__(self) -> None:
        self.finished = self.failed = self.cancelled = self.expired = self.refused = 0
        self.prompt_tokens = self.completion_tokens = self.steps = 0
        self.decode_seconds = self.engine_seconds = 0.0


class StepEngine:
    """Runs calls and commands on its own thread. `submit`, `cancel`, `command` and `close` may be called from any."""

    def __init__(
        self,
        model: TorchModel,
        *,
        width: int,
        queue: int,
        batch: int,
        context: int,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._failed = failed  # called on the thread when it has failed, after the calls heard of it
        self._model, self._width, self._most_waiting = model, width, queue
        self._batch, self._context = batch, context
        # Logits of the last token only, where the architecture can: those of a long prompt are larger than its cache.
        parameters = inspect.signature(model.network.forward).parameters
        self._extra: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"  # its name until transformers 5.23
        self._news = threading.Condition()
        self._waiting: FairCallQueue[OpenAnswer] = FairCallQueue()
        self._present: dict[int, OpenAnswer] = {}  # by arrival: waiting and running
        self._running: list[OpenAnswer] = []
        self._commands: deque[Callable[[], None]] = deque()
        self._closed = False
        self._swept = 0.0
        self.totals = StepTotals()
        self._thread = threading.Thread(target=self._run, name="transformers-engine", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def check(self, token: int) -> None:
        """Makes two steps; raises `EngineFailed` for an architecture that cannot go on from its cache."""
        with translate_torch("run this architecture"), torch.inference_mode():
            _, cache = self._forward([token], None)
            if cache is None:
                raise EngineFailed("this architecture keeps no KV cache", hint="take a causal transformer")
            self._forward([token], cache)

    # --- from any thread ---

    def submit(self, answer: OpenAnswer) -> None:
        """Adds a call; raises `Overloaded` where the queue is full."""
        with self._news:
            self._require_open()
            if len(self._waiting) >= self._most_waiting:
                self.totals.refused += 1
                raise Overloaded(f"{len(self._waiting)} calls wait already", hint="try again later, or raise `queue`")
            self._present[answer.arrival] = answer
            self._waiting.arrive(answer)
            self._news.notify()

    def cancel(self, answer: OpenAnswer) -> None:
        """Ends a call before its next step; it delivers nothing more."""
        with self._news:
            answer.cancelled = True
            self._news.notify()

    def command(self, run: Callable[[], None]) -> None:
        """Runs something between two steps."""
        with self._news:
            self._require_open()
            self._commands.append(run)
            self._news.notify()

    def close(self) -> None:
        """Ends the calls with `ModelClosed` after the step in progress."""
        with self._news:
            self._closed = True
            self._news.notify()

    def _require_open(self) -> None:
        if self._closed:
            raise ModelClosed("the model is closed")

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Calls that are being answered."""
        return len(self._running)

    # --- on the engine's thread ---

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                while self._turn():
                    pass
            problem: LocalModelError = ModelClosed("the model was closed under this call")
            self._end(problem)
        except BaseException as error:
            logger.exception("the engine of a Hugging Face model failed")
            self._end(EngineFailed(f"the engine failed: {error!r}"))
            self._failed()

    def _end(self, problem: LocalModelError) -> None:
        """Tells all callers why the engine ended."""
        with self._news:
            self._closed = True
            left, commands = list(self._present.values()), list(self._commands)
            self._present.clear()
        for answer in left:
            if not answer.cancelled:
                answer.deliver(problem)
        for run in commands:
            run()

    def _turn(self) -> bool:
        """One step for each running call, and what came meanwhile. False: the engine was closed."""
        with self._news:
            while not (self._running or self._commands or self._closed or len(self._waiting)):
                self._news.wait()
            if self._closed:
                return False
            command = self._commands.popleft() if self._commands else None
            self._sweep(time.monotonic())
            self._admit()
        if command is not None:
            command()
        for answer in list(self._running):
            self._advance(answer)
        return True

    def _sweep(self, now: float) -> None:
        """Ends waiting calls that were cancelled or whose time is over."""
        if now - self._swept < SWEEP_SECONDS:
            return
        self._swept = now
        for answer in [each for each in self._present.values() if not each.seated]:
            if answer.cancelled or now >= answer.deadline:
                self._waiting.withdraw(answer)
                self._leave(answer, None if answer.cancelled else self._late(answer))

    def _admit(self) -> None:
        while len(self._running) < self._width and (answer := self._waiting.peek()) is not None:
            self._waiting.take(answer)
            self._waiting.serve(answer.agent, len(answer.prompt))
            answer.seated = time.monotonic()
            self._running.append(answer)

    @staticmethod
    def _late(answer: OpenAnswer) -> DeadlineExceeded:
        return DeadlineExceeded(answer.stage(), answer.options.within)

    def _leave(self, answer: OpenAnswer, outcome: Finish | LocalModelError | None) -> None:
        """Ends a call, and then tells its caller; one that was cancelled hears nothing."""
        answer.cache = None
        with self._news:
            self._present.pop(answer.arrival, None)
            self._waiting.leave(answer)
        if answer in self._running:
            self._running.remove(answer)
        totals = self.totals
        totals.prompt_tokens += answer.fed
        totals.completion_tokens += len(answer.written)
        if answer.cancelled:
            totals.cancelled += 1
        elif isinstance(outcome, LocalModelError):
            totals.expired += isinstance(outcome, DeadlineExceeded)
            totals.failed += not isinstance(outcome, DeadlineExceeded)
            answer.deliver(outcome)
        elif outcome is not None:
            totals.finished += 1
            answer.finish(outcome)

    def _advance(self, answer: OpenAnswer) -> None:
        """One step of one call."""
        began = time.monotonic()
        if answer.cancelled or began >= answer.deadline:
            self._leave(answer, None if answer.cancelled else self._late(answer))
            return
        try:
            with translate_torch("compute this call"):
                self._step(answer, began)
        except LocalModelError as error:
            if isinstance(error.__cause__, _LOST_DEVICE):
                raise
            self._leave(answer, error)

    def _step(self, answer: OpenAnswer, began: float) -> None:
        tokens = answer.next_tokens(self._batch)
        row, answer.cache = self._forward(tokens, answer.cache)
        now = time.monotonic()
        self.totals.steps += 1
        self.totals.decode_seconds += now - began
        if answer.fed < len(answer.prompt):
            answer.fed += len(tokens)
            if answer.fed < len(answer.prompt):
                return
        answer.first_token = answer.first_token or now
        self._choose(answer, row)
        self.totals.engine_seconds += time.monotonic() - now

    def _forward(self, tokens: list[int], cache: Any) -> tuple[Any, Any]:
        """Computes tokens behind a cache; returns the logits of the last one, on the CPU, and the cache."""
        ids = torch.tensor([tokens], device=self._model.device)
        out = self._model.network(input_ids=ids, use_cache=True, **{self._cache_name: cache}, **self._extra)
        return out.logits[0, -1].float().cpu(), getattr(out, self._cache_name, None)

    def _choose(self, answer: OpenAnswer, row: Any) -> None:
        how, decode = answer.options, self._model.tokens.decode
        token = answer.chooser.choose(row, answer.written)
        if token in self._model.ends:
            self._leave(answer, "stop")
            return
        score = score_of(row, token, how.logprobs, decode) if how.logprobs >= 0 else None
        answer.show(token, score)
        with self._news:
            self._waiting.serve(answer.agent, 1)
        full = len(answer.prompt) + len(answer.written) >= self._context
        if answer.text.stopped:
            self._leave(answer, "stop")
        elif len(answer.written) >= how.max_tokens or full:
            self._leave(answer, "length")
