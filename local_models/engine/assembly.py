"""Assembly: makes what an opened model needs to decode (context, cache, draft model, projector, engine), in the right
order, and frees it."""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from local_models.backend import Claim
from local_models.engine.engine import Engine
from local_models.engine.growth import Growth, Room
from local_models.kept.prompts import KeptOptions, KeptPrompts
from local_models.llama import Context, Weights
from local_models.llama.identity import model_key
from local_models.llama.memory import release_free_memory
from local_models.llama.opening import OpenedModel, open_model
from local_models.llama.projector import Projector
from local_models.llama.widths import NOT_MEASURED, known_width
from local_models.options import LoadOptions, Lora
from local_models.scheduling.plan import SchedulerLimits
from local_models.speculation import Speculation, StepLayout

logger = logging.getLogger("local_models")


def _can_speculate(weights: Weights, options: LoadOptions) -> bool:
    """Whether tokens may be proposed: not where the model cannot forget a part of a text."""
    return options.speculate != "off" and not weights.recurrent and not weights.sliding_window


def _speculation(
    weights: Weights, context: Context, options: LoadOptions, draft_weights: Weights | None
) -> Speculation | None:
    if not _can_speculate(weights, options):
        return None
    draft = None
    if draft_weights is not None:
        from local_models.speculation.draft import DraftModel

        draft = DraftModel(draft_weights, context.shape)
    layout = StepLayout(unified=context.shape.unified, gap=context.most_fillers)
    fixed = options.speculate if isinstance(options.speculate, int) else 0
    return Speculation(layout, weights.ends, fixed, draft)


def _open_draft(weights: Weights, options: LoadOptions) -> Weights | None:
    """Loads the draft model, where there is one; raises `BadOption` where it does not fit."""
    if not options.draft or not _can_speculate(weights, options):
        return None
    from local_models.speculation.draft import check_vocabulary

    own = LoadOptions(context=options.context, gpu_layers=options.gpu_layers, sequences=1, mmap=options.mmap)
    opened = open_model(options.draft, own, own_process=False)
    try:
        check_vocabulary(weights, opened.weights)
    except BaseException:
        opened.weights.close()
        raise
    return opened.weights


class ModelParts:
    """The parts of one model in this process. The engine frees its context when it ends, `free` all else.

    `claim` is asked before the cache takes more than at load.
    """

    def __init__(self, opened: OpenedModel, options: LoadOptions, claim: Claim) -> None:
        self.plan, self.summary, self.weights = opened.plan, opened.facts.summary, opened.weights
        self._options = options
        self._adapters: dict[str, int] = {}  # file -> pointer
        self._long_text = False
        self._draft_weights: Weights | None = None
        self.projector: Projector | None = None
        self._kept: KeptPrompts | None = None
        context: Context | None = None
        try:
            if options.projector:
                threads, gpu = self.plan.threads, self.plan.gpu_layers != 0
                self.projector = Projector(self.weights, options.projector, threads=threads, gpu=gpu)
            self._draft_weights = _open_draft(self.weights, options)
            context = self._first_context(claim)
            self._kept = self._kept_prompts(context)
            self.engine = Engine(
                self.weights,
                context,
                self._limits(context),
                options.step_ms / 1000,
                self.summary.architecture,
                (self.plan.threads, self.plan.most_threads),
                self._growth,
                self._kept,
                _speculation(self.weights, context, options, self._draft_weights),
            )
            if options.lora:
                self.engine.cache.adapters(self.adapters(options.lora))
        except BaseException:
            if context is not None:
                context.close()
            if self._kept is not None:
                self._kept.close()
            self._close_others()
            raise

    def start(self) -> None:
        """Starts the engine."""
        if self._kept is not None:
            self._kept.wait_until_open()
        self.engine.thread.start()

    # --- the cache ---

    def _first_context(self, claim: Claim) -> Context:
        """Makes the context that a model has at load, and what lets it grow."""
        plan = self.plan
        shape, self._growth = plan.shape, None
        self._width = (shape.sequences, "configured")
        widest = msgspec.structs.replace(shape, threads=plan.most_threads)
        measure = partial(known_width, self.weights, self.summary.path, widest)
        if plan.grows:
            self._growth = Growth(self.weights, self._room(measure, claim))
            few = plan.first_sequences
            shape = msgspec.structs.replace(shape, sequences=few, tokens=few * plan.first_context)
        elif plan.measure:
            self._width = measure()
            shape = msgspec.structs.replace(shape, sequences=self._width[0])
        return Context(self.weights, shape)

    def _room(self, measure: Callable[[], tuple[int, str]], claim: Claim) -> Room:
        """Returns how far the cache may grow."""
        plan = self.plan
        return Room(
            plan.shape,
            measure if plan.measure else lambda: self._width,
            longest=plan.context,
            most_tokens=plan.most_tokens,
            fixed=not plan.measure,
            token_bytes=plan.kv_bytes // plan.shape.tokens,
            claim=claim,
        )

    def _limits(self, context: Context) -> SchedulerLimits:
        options = self._options
        return SchedulerLimits(
            slots=context.shape.sequences,
            slot_tokens=min(self.plan.context, context.sequence_tokens),
            pool_tokens=context.total_tokens,
            batch=options.batch,
            queue=options.queue,
            unified=context.shape.unified,
            shares=not self.weights.recurrent,
            prefix_tokens=options.prefix_tokens if options.prefix_tokens >= 0 else 1 << 60,
        )

    @property
    def longest(self) -> int:
        """Most tokens of a call."""
        return self._growth.longest if self._growth is not None else self.engine.cache.scheduler.limits.slot_tokens

    @property
    def width(self) -> tuple[int, str]:
        """The most sequences, and why so many, in words."""
        if self._growth is not None and self.plan.measure:
            return self._growth.most, self._growth.words or NOT_MEASURED
        return self._width

    @property
    def memory_bytes(self) -> int:
        """Bytes of the weights, of those of a draft model and a projector, and of the KV cache."""
        shape = self.engine.context.shape
        others = sum(each.size_bytes for each in (self.projector, self._draft_weights) if each is not None)
        return self.weights.size_bytes + self.summary.kv_bytes(shape.tokens, shape.kv_type) + others

    # --- kept prompts ---

    def _kept_prompts(self, context: Context) -> KeptPrompts | None:
        """What is kept of prompts outside the KV cache, where that is asked for and the model's states can be cut."""
        options, weights = self._options, self.weights
        if not options.cache_bytes or self.summary.ranks:
            return None
        if weights.recurrent or weights.sliding_window or not weights.causal:
            logger.warning(
                "`cache_mb` and `cache_dir` do nothing for this model: the state of a %s cannot be cut by tokens",
                "sliding window" if weights.sliding_window else "model of this kind",
            )
            return None
        self._long_text = weights.goes_beyond(context.sequence_tokens)
        if self._growth is not None and weights.goes_beyond(self._growth.longest) != self._long_text:
            logger.warning(
                "`cache_mb` and `cache_dir` do nothing for this model at this `context`: its positions change once the"
                " cache is longer than %d tokens",
                context.sequence_tokens,
            )
            return None
        return KeptPrompts(
            KeptOptions(
                token_bytes=self.summary.kv_bytes(1, options.kv_type),
                memory_bytes=options.cache_bytes,
                folder=options.cache_dir,
                disk_bytes=options.cache_disk_mb << 20,
            ),
            self._key(options.lora),
        )

    def _key(self, adapters: Sequence[Lora]) -> Callable[[], str]:
        """Makes the key of the states under these adapters, which may read whole files."""
        files = (self.summary.path, self._options.projector)
        chosen = [(lora.path, lora.scale) for lora in adapters]
        return partial(model_key, files, chosen, self.plan.shape, self.plan.gpu_layers, self._long_text)

    # --- adapters ---

    def adapters(self, chosen: Sequence[Lora]) -> list[tuple[int, float]]:
        """Returns adapters as the engine takes them; their files are read once."""
        for lora in chosen:
            if lora.path not in self._adapters:
                self._adapters[lora.path] = self.weights.adapter(lora.path)
        return [(self._adapters[lora.path], lora.scale) for lora in chosen]

    def put_on(self, chosen: Sequence[Lora]) -> None:
        """Replaces the adapters of all calls; on the engine's thread."""
        self.engine.cache.adapters(self.adapters(chosen))
        if self.engine.keeping is not None:
            self.engine.keeping.start_over(self._key(chosen))

    # --- end ---

    def _close_others(self) -> None:
        if self.projector is not None:
            self.projector.close()
        if self._draft_weights is not None:
            self._draft_weights.close()
        self.weights.close()

    def free(self) -> None:
        """Frees all but the context, which the engine has freed. Waits for threads that tokenize."""
        self._close_others()
        release_free_memory()
