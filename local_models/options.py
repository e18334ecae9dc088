"""Options of loading a model and of each call: frozen values, checked where they are made."""

from functools import cache
from typing import Any, Literal, TypedDict, get_args

import msgspec

from local_models.errors import BadOption

KvLayout = Literal["auto", "split", "unified"]
KvType = Literal["f16", "q8_0", "q4_0"]
GpuSplit = Literal["layer", "row", "none"]
FROM_DISK_MB = 32  # MiB of memory for prompts from disk: beginnings that many of them share are read once
FREE = ("auto", "none")  # the choices of a tool that force nothing


def _require(condition: bool, field: str, rule: str) -> None:
    if not condition:
        raise BadOption(f"`{field}` {rule}", field=field)


@cache
def _fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


def _check_types(options: msgspec.Struct) -> None:
    """Raises `BadOption` for a value of another type: a struct takes whatever it is given."""
    for field in _fields_of(type(options)):
        value = getattr(options, field.name)
        try:
            msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            raise BadOption(f"`{field.name}` is {_said(field.type)}, not {value!r:.60}", field=field.name) from None


def _said(kind: Any) -> str:
    """A type of an option in a sentence."""
    words = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
    if kind in words:
        return words[kind]
    choices = get_args(kind)
    if Ellipsis in choices:
        return f"a tuple of {choices[0].__name__}"
    return " or ".join(words.get(choice) or repr(choice) for each in choices for choice in get_args(each) or (each,))


class Lora(msgspec.Struct, frozen=True, kw_only=True):
    """A trained adapter, applied to every call until `LocalModel.set_lora` says otherwise."""

    path: str  #: file of the adapter, in GGUF
    scale: float = 1.0  #: strength of the adapter

    def __post_init__(self) -> None:
        _check_types(self)


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a model is loaded. Zero and "auto" mean: chosen for this device, and said in `statistics()`."""

    #: most tokens of one conversation; 0: what the model was trained for, as far as the memory allows
    context: int = 0
    sequences: int = 0  #: conversations in the KV cache at once, at most 256; more callers wait in the queue
    pool: int = 0  #: tokens of all conversations together, for the unified layout
    layout: KvLayout = "auto"  #: KV cache "split" into equal parts for each conversation, or "unified"
    kv_type: KvType = "f16"  #: type of the numbers in the KV cache: "q8_0" takes half the memory, "q4_0" a quarter
    batch: int = 512  #: most tokens in one step, 8 to 8192
    threads: int = 0  #: threads that compute; 0: all cores, but for one while others need it
    memory_bytes: int = 0  #: most bytes of this model, weights and KV cache; 0: what is free here
    idle_unload: float = 0.0  #: seconds without a call after which a pool unloads it; the next call loads it; 0: never
    gpu_layers: int | Literal["auto"] = "auto"  #: layers of the model that a GPU computes; -1: all
    gpu_split: GpuSplit = "layer"  #: how several GPUs share it: by "layer", or "row" of each matrix; "none": only one
    gpu_shares: tuple[float, ...] = ()  #: part of it that each GPU has, such as (3, 1); empty: by their free memory
    #: milliseconds that a step with running streams aims at (or 2.5 times what they take alone): long prompts wait
    step_ms: float = 20.0
    queue: int = 4096  #: waiting calls; one more gets `Overloaded`
    prefix_tokens: int = -1  #: most tokens of finished conversations kept for re-use; -1: what the cache holds
    #: tokens that are guessed for a call and computed in one step: "auto" as many as pay, "off", or at most so many
    speculate: int | Literal["auto", "off"] = "auto"
    draft: str = ""  #: address of a small model with the same vocabulary, which writes ahead for all calls
    chat_template: str = ""  #: Jinja template instead of the one in the file
    cache_mb: int = 0  #: MiB of memory for prompts of finished calls that have no place in the KV cache any more
    cache_dir: str = ""  #: folder in which prompts of finished calls outlive the program; "": none
    cache_disk_mb: int = 4096  #: most MiB of all files in `cache_dir`; the least recently used go first
    lora: tuple[Lora, ...] = ()  #: adapters applied from the start
    projector: str = ""  #: file of the projector (mmproj) by which the model reads pictures; empty: it reads none
    isolated: bool = False  #: runs in a process of its own: a native crash ends calls, not this process
    mmap: bool = True  #: maps the file into memory rather than reading it
    device: str = "auto"  #: of a model of hf: where it runs: "cpu", "cuda", "cuda:0", "mps", or "auto"
    network: bool = False  #: of a model of hf: it may be downloaded where it is not here

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("context", "sequences", "pool", "threads", "memory_bytes"):
            _require(getattr(self, name) >= 0, name, "is a count, or 0 for automatic")
        _require(self.sequences <= 256, "sequences", "is at most 256, the limit of llama.cpp; more callers queue")
        _require(8 <= self.batch <= 8192, "batch", "is between 8 and 8192 tokens")
        _require(0 < self.step_ms <= 10_000, "step_ms", "is between 0 and 10000 milliseconds")
        _require(self.gpu_layers == "auto" or self.gpu_layers >= -1, "gpu_layers", 'is a count, -1 for all, or "auto"')
        shares = self.gpu_shares
        _require(all(share >= 0 for share in shares), "gpu_shares", "are 0 or more")
        _require(not shares or sum(shares) > 0, "gpu_shares", "are not all 0")
        _require(not shares or self.gpu_split != "none", "gpu_shares", 'are for `gpu_split` "layer" or "row"')
        _require(self.queue >= 1, "queue", "holds at least one call")
        _require(self.cache_mb >= 0, "cache_mb", "is a number of MiB, or 0 for none")
        _require(
            self.cache_disk_mb >= 1, "cache_disk_mb", "is a number of MiB above 0; without `cache_dir` there is none"
        )
        _require(self.prefix_tokens >= -1, "prefix_tokens", "is a number of tokens, or -1 for automatic")
        _require(self.threads <= 512, "threads", "is at most 512")
        _require(0 <= self.idle_unload < float("inf"), "idle_unload", "is a number of seconds, or 0 for never")
        if isinstance(self.speculate, int):
            _require(1 <= self.speculate <= 16, "speculate", 'is "auto", "off", or between 1 and 16 tokens')

    @property
    def cache_bytes(self) -> int:
        """Bytes of memory for prompts outside the KV cache; those from `cache_dir` pass through some."""
        return max(self.cache_mb, FROM_DISK_MB if self.cache_dir else 0) << 20


class Generate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one call is answered."""

    max_tokens: int = 512  #: most tokens of the answer
    temperature: float = 0.8  #: randomness of the choice of tokens, 0 to 10; 0 is greedy
    top_k: int = 40  #: chooses from so many of the likeliest tokens; 0: from all
    top_p: float = 0.95  #: chooses from the likeliest tokens that have this share of the probability together
    min_p: float = 0.05  #: leaves out tokens with less than this part of the likeliest one's probability
    repeat_penalty: float = 1.0  #: divides the score of tokens that came lately; 1: no penalty
    frequency_penalty: float = 0.0  #: lowers the score of a token by this much for each time it came lately, -2 to 2
    presence_penalty: float = 0.0  #: lowers the score of a token that came lately by this much, -2 to 2
    penalty_window: int = 64  #: how many of the last tokens the penalties look at, at most 4096
    seed: int | None = None  #: seed of the choice of tokens; None: another one for each call
    stop: tuple[str, ...] = ()  #: texts that end the answer, at most 16
    #: id of a token of the model's own vocabulary -> what is added to its score, -100 to 100; at most 1024 tokens
    logit_bias: dict[str, float] = {}
    min_tokens: int = 0  #: no end of the answer is chosen before so many tokens; texts of `stop` end it all the same
    ignore_eos: bool = False  #: no end of the answer is chosen at all: it has `max_tokens`, or ends by `stop`
    schema: dict[str, Any] | None = None  #: JSON Schema of the answer
    grammar: str = ""  #: grammar of the answer instead of a schema: GBNF, with a rule `root`
    logprobs: int = -1  #: -1: none; 0: of the chosen token; n: of the n likeliest ones too, at most 50
    #: `{"type": "function", "function": {"name", "description", "parameters"}}` for each tool
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"  #: "auto", "none", "required" (at least one call), or the name of the tool to call
    thinking: bool | None = None  #: whether the model reasons before it answers; None: as its chat template does
    agent: str = ""  #: name of the caller: agents get equal shares of the engine
    priority: int = 0  #: higher goes first, and may take the place of lower
    within: float = 300.0  #: deadline in seconds, waiting included

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens", "is at least 1")
        _require(0 <= self.temperature <= 10, "temperature", "is between 0 and 10")
        _require(self.top_k >= 0, "top_k", "is a count, or 0 for all")
        _require(0 < self.top_p <= 1, "top_p", "is above 0 and at most 1")
        _require(0 <= self.min_p < 1, "min_p", "is at least 0 and below 1")
        _require(0 < self.repeat_penalty <= 10, "repeat_penalty", "is above 0 and at most 10")
        _require(-2 <= self.frequency_penalty <= 2, "frequency_penalty", "is between -2 and 2")
        _require(-2 <= self.presence_penalty <= 2, "presence_penalty", "is between -2 and 2")
        _require(0 <= self.penalty_window <= 4096, "penalty_window", "is between 0 and 4096 tokens")
        _require(self.seed is None or 0 <= self.seed < 2**32 - 1, "seed", "is a number below 2**32 - 1")
        _require(len(self.stop) <= 16 and all(self.stop), "stop", "is at most 16 strings, none of them empty")
        _require(not (self.schema is not None and self.grammar), "grammar", "and `schema` exclude each other")
        if self.logit_bias:
            _check_bias(self.logit_bias)
        if self.min_tokens or self.ignore_eos:
            self._check_ends()
        if self.tool_choice not in FREE:
            names = [tool.get("function", {}).get("name") for tool in self.tools]
            _require(bool(names), "tool_choice", "forces a call, and there are no tools")
            known = self.tool_choice == "required" or self.tool_choice in names
            _require(known, "tool_choice", "is auto, none, required, or the name of one of the tools")
            _require(not self.grammar, "grammar", "and a forced tool call exclude each other")
        _require(-1 <= self.logprobs <= 50, "logprobs", "is at most 50")
        _require(self.within > 0, "within", "is a number of seconds above 0")

    def _check_ends(self) -> None:
        """An answer of a shape ends where the shape does."""
        field = "ignore_eos" if self.ignore_eos else "min_tokens"
        _require(0 <= self.min_tokens <= self.max_tokens, "min_tokens", "is between 0 and `max_tokens`")
        shaped = self.schema is not None or bool(self.grammar) or (bool(self.tools) and self.tool_choice != "none")
        _require(not shaped, field, "and a schema, a grammar or tools exclude each other")


def _check_bias(bias: dict[str, float]) -> None:
    _require(len(bias) <= 1024, "logit_bias", "has at most 1024 tokens")
    for token, value in bias.items():
        known = token.isascii() and token.isdigit() and len(token) < 10
        _require(known, "logit_bias", "has the ids of tokens as keys, as in {'42': -100}")
        _require(-100 <= value <= 100, "logit_bias", "adds between -100 and 100 to the score of a token")


class GenerateChanges(TypedDict, total=False):
    """The fields of `Generate` as keywords of a call: `model.chat(messages, max_tokens=64, temperature=0)`."""

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_window: int
    seed: int | None
    stop: tuple[str, ...]
    logit_bias: dict[str, float]
    min_tokens: int
    ignore_eos: bool
    schema: dict[str, Any] | None
    grammar: str
    logprobs: int
    tools: tuple[dict[str, Any], ...]
    tool_choice: str
    thinking: bool | None
    agent: str
    priority: int
    within: float


DEFAULTS = Generate()


def with_changes(options: Generate, changes: GenerateChanges) -> Generate:
    """The options with some fields replaced; an unknown field is an error that lists the known ones."""
    if not changes:
        return options
    unknown = sorted(set(changes) - set(Generate.__struct_fields__))
    if unknown:
        known = ", ".join(Generate.__struct_fields__)
        raise BadOption(f"no option `{unknown[0]}`", field=unknown[0], hint=f"there are: {known}")
    merged: Generate = msgspec.structs.replace(options, **changes)
    return merged
