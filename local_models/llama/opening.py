"""Opening: a checked file, a plan for it, and its weights, with what is known of the file from the last time.

To check a header reads a hundred thousand texts of a vocabulary, and to find its control tokens asks llama.cpp for each
of them: as long as all other parts of a start together. What was found is kept in `$XDG_CACHE_HOME/three-mode/files`, a
file for each model. It counts for the same file alone: the same place, size, inode and times (a file that is changed
gets another time of change, which no program can set), the same check, and the same build of llama.cpp.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from local_models import gguf
from local_models.errors import BadOption
from local_models.gguf import Header, Summary, check, summarize
from local_models.llama.library import devices, library
from local_models.llama.remembered import cache_folder, read_result, write_result
from local_models.llama.sizing import LoadPlan, machine, plan
from local_models.llama.weights import SpecialTokens, Weights
from local_models.options import LoadOptions

FRESH = 2.0  # seconds in which a file may change twice without another time of change
LONGEST_KEPT = 64 << 10  # characters of a chat template
MOST_KEPT = 64  # files; the oldest go first


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a file that was checked."""

    summary: Summary
    longest_token: Annotated[
        int, msgspec.Meta(ge=1)
    ]  #: most characters of a text that one token can stand for; a huge number where it is not known
    special: SpecialTokens | None = None


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A model whose weights are loaded."""

    facts: FileFacts
    plan: LoadPlan
    weights: Weights


def open_model(path: str, options: LoadOptions, *, own_process: bool) -> OpenedModel:
    """Checks a file, unless that was done before, and loads its weights. Whoever gets them closes them."""
    library()  # a missing engine is reported before a lack of memory
    _require_gpu(options)
    key = _key(path)
    facts = _kept(path, key) or _checked(path)
    load_plan = plan(facts.summary, options, machine(), own_process=own_process)
    weights = Weights(
        path,
        gpu_layers=load_plan.gpu_layers,
        mmap=options.mmap,
        special=facts.special,
        split=options.gpu_split,
        shares=options.gpu_shares,
    )
    if key and weights.special != facts.special and key == _key(path):
        _keep(key, msgspec.structs.replace(facts, special=weights.special))
    return OpenedModel(facts, load_plan, weights)


def _require_gpu(options: LoadOptions) -> None:
    """Raises `BadOption` for layers that are to be on a GPU where there is none: llama.cpp would not say so."""
    if options.gpu_layers in ("auto", 0) or any(device.kind in ("gpu", "igpu") for device in devices()):
        return
    raise BadOption(
        f"`gpu_layers` is {options.gpu_layers}, and llama.cpp finds no GPU here",
        field="gpu_layers",
        hint="`three-mode doctor` says why, and how to compile it for one",
    )


def known_facts(path: str) -> FileFacts:
    """Returns the facts of a file, which is checked unless that was done before: a load after this does not again."""
    key = _key(path)
    kept = _kept(path, key)
    if kept is not None:
        return kept
    facts = _checked(path)
    if key and key == _key(path):
        _keep(key, facts)
    return facts


def _kept(path: str, key: str) -> FileFacts | None:
    kept = read_result(_kept_file(key), FileFacts) if key else None
    if kept is None:
        return None
    return msgspec.structs.replace(kept, summary=msgspec.structs.replace(kept.summary, path=path))


def _checked(path: str) -> FileFacts:
    header = check(path)
    return FileFacts(summary=summarize(header), longest_token=_longest_token(header))


def _longest_token(header: Header) -> int:
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and header.metadata.get("tokenizer.ggml.model") in ("llama", "gpt2"):
        return max(map(len, tokens))
    return 1 << 30  # other tokenizers leave characters out


def _identity(path: str | os.PathLike[str]) -> tuple[int, ...]:
    about = os.stat(path)
    return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def _key(path: str) -> str:
    """Returns the name under which the facts of a file are kept; "" where they are not."""
    try:
        file = _identity(path)
        here, checker = Path(__file__), Path(gguf.__file__).parent
        checks = list(map(_identity, [here, here.with_name("weights.py"), *sorted(checker.glob("*.py"))]))
        if abs(time.time() - file[-1] / 1e9) < FRESH:
            return ""
        facts: tuple[Any, ...] = (os.path.realpath(path), file, checks, library().build)
        return hashlib.sha256(repr(facts).encode()).hexdigest()
    except OSError:
        return ""


def _kept_file(key: str) -> Path:
    return cache_folder() / "files" / f"{key}.json"


def _keep(key: str, facts: FileFacts) -> None:
    if len(facts.summary.chat_template) > LONGEST_KEPT:
        return
    file = _kept_file(key)
    write_result(file, facts)
    try:
        kept = sorted(file.parent.glob("*.json"), key=lambda other: other.stat().st_mtime_ns)
        for other in kept[:-MOST_KEPT]:
            other.unlink()
    except OSError:
        pass  # another program has removed it
