"""Model and tokenizer as transformers loads them: safetensors only, no code of a repository, no network.

The environment is set before transformers is imported, which reads it then.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any

from local_models.openmp import short_spin

os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
    TRANSFORMERS_VERBOSITY="error",
    TOKENIZERS_PARALLELISM="false",
    **short_spin(),
)

import psutil
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from local_models.errors import BadModelFile, BadOption, EngineFailed, EngineMissing, LocalModelError, OutOfMemory
from local_models.options import LoadOptions

_OFFLINE = {"local_files_only": True, "trust_remote_code": False}


@contextmanager
def translate_torch(action: str) -> Iterator[None]:
    """Turns errors of PyTorch into ours; `action` is a verb phrase for the message."""
    try:
        yield
    except LocalModelError:
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(f"out of memory: cannot {action}", hint=_less(action)) from error
    except RuntimeError as error:
        if "allocate memory" in str(error):  # PyTorch's allocator of the CPU has no class of error of its own
            raise OutOfMemory(f"out of memory: cannot {action}", hint=_less(action)) from error
        raise EngineFailed(f"cannot {action}: {_first_line(error)}") from error
    except Exception as error:  # an architecture's own code, of which anything may come
        raise EngineFailed(f"cannot {action}: {type(error).__name__}: {_first_line(error)}") from error


def _less(action: str) -> str:
    """Says what takes less memory: weights do not depend on a context."""
    if action.startswith("load "):
        return "choose a smaller model, or end other programs"
    return "shorten the prompt, or load the model with a smaller `context` or fewer `sequences`"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Turns errors of a load into ours: whatever is wrong by then, the files are."""
    try:
        yield
    except (LocalModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except ImportError as error:
        raise EngineMissing(f"{folder.name} needs a package: {_first_line(error)}", hint="pip install it") from error
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise BadModelFile(
                f"{folder.name} needs code from its repository, which is never run",
                path=str(folder),
                hint="take a model of an architecture that transformers has itself",
            ) from error
        raise BadModelFile(f"transformers cannot load {folder.name}: {_first_line(error)}", path=str(folder)) from error


def choose_device(wanted: str) -> Any:
    """Returns the torch device of an option; raises `BadOption` where this computer or this PyTorch has none."""
    if wanted == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        there = f"it finds {torch.cuda.device_count()}" if torch.version.cuda else "it was built for the CPU"
        raise BadOption(
            f"PyTorch {torch.__version__} has no {wanted}: {there}", field="device", hint='device="auto" or "cpu"'
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadOption("this computer has no mps", field="device", hint='device="auto" or "cpu"')
    return device


class Tokens:
    """Tokenizer of a model. All methods may be called from several threads."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._lock = Lock()  # for tokenizers written in Python
        self._quick = tokenizer.backend_tokenizer if tokenizer.is_fast else None
        if self._quick is not None:
            self._quick.no_truncation()
            self._quick.no_padding()
            self._plain = deepcopy(self._quick)
            self._plain.encode_special_tokens = True

    def encode(self, text: str, *, special: bool, marks: bool) -> list[int]:
        """Returns the tokens of a text. `special`: the text of a control token becomes that token. `marks`: with the
        tokens that the tokenizer puts around a text."""
        if self._quick is not None:
            tokenizer = self._quick if special else self._plain
            ids: list[int] = tokenizer.encode(text, add_special_tokens=marks).ids
            return ids
        with self._lock:
            return list(
                self._tokenizer.encode(
                    text, add_special_tokens=marks, split_special_tokens=not special, truncation=False, padding=False
                )
            )

    def decode(self, tokens: Sequence[int], *, skip_special: bool = True) -> str:
        """Returns the text of tokens."""
        if self._quick is not None:
            return str(self._quick.decode(list(tokens), skip_special_tokens=skip_special))
        with self._lock:
            return str(
                self._tokenizer.decode(
                    list(tokens), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
                )
            )

    def __len__(self) -> int:
        return len(self._tokenizer)

    @property
    def control(self) -> tuple[str, ...]:
        """Texts of the control tokens."""
        added = self._tokenizer.added_tokens_decoder.values()
        return tuple({token.content for token in added if token.special} | set(self._tokenizer.all_special_tokens))

    @property
    def bos(self) -> str:
        """Text of the token that begins a prompt; empty: there is none."""
        return str(self._tokenizer.bos_token or "")

    @property
    def eos(self) -> str:
        """Text of the token that ends an answer; empty: there is none."""
        return str(self._tokenizer.eos_token or "")

    @property
    def eos_id(self) -> int | None:
        """The token that ends an answer."""
        found: int | None = self._tokenizer.eos_token_id
        return found


class TorchModel:
    """A loaded model. `writes`: it continues texts; else it is an encoder, which makes vectors."""

    def __init__(self, folder: Path, options: LoadOptions, file_bytes: int) -> None:
        self.device = choose_device(options.device)
        free = psutil.virtual_memory().available
        if file_bytes > free:
            raise OutOfMemory(f"{file_bytes >> 20} MiB are needed for the weights, {free >> 20} MiB are free")
        if options.threads:
            torch.set_num_threads(options.threads)
        with translate_torch(f"load {folder.name}"), _loading(folder):
            self.config = transformers.AutoConfig.from_pretrained(str(folder), **_OFFLINE)
            self.writes = self._writes(folder)
            self.tokens = Tokens(transformers.AutoTokenizer.from_pretrained(str(folder), **_OFFLINE))
            loader = transformers.AutoModelForCausalLM if self.writes else transformers.AutoModel
            self.network, found = loader.from_pretrained(
                str(folder),
                config=self.config,
                use_safetensors=True,
                dtype="auto",
                output_loading_info=True,
                **_OFFLINE,
            )
            self._check_whole(folder, found)
            self.network = self.network.to(self.device).eval()
        self.ends = self._ends()
        self.threads = torch.get_num_threads()

    def _writes(self, folder: Path) -> bool:
        architectures = self.config.architectures or []
        if self.config.is_encoder_decoder:
            raise BadModelFile(
                f"{folder.name} is an encoder with a decoder ({', '.join(architectures)}), which is not run here",
                path=str(folder),
                hint="take a causal language model",
            )
        return any(name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for name in architectures)

    def _check_whole(self, folder: Path, found: dict[str, Any]) -> None:
        """TorchModel that the files lack would be random numbers. An encoder may lack its pooler, which is not used."""
        lacking = sorted(name for name in found["missing_keys"] if self.writes or not name.startswith("pooler"))
        if lacking or found.get("mismatched_keys"):
            raise BadModelFile(
                f"the weights of {folder.name} are not whole: {len(lacking)} tensors are missing, first {lacking[:1]}",
                path=str(folder),
                hint="download the model again",
            )

    def _ends(self) -> frozenset[int]:
        """Tokens that end an answer, as `generate` takes them."""
        generation = getattr(self.network, "generation_config", None)
        said = getattr(generation, "eos_token_id", None)
        ends = said if isinstance(said, list) else [said] if said is not None else []
        eos = self.tokens.eos_id
        return frozenset(ends if eos is None else [*ends, eos])

    @property
    def description(self) -> str:
        """Name of the device, for people."""
        if self.device.type == "cuda":
            return f"{self.device}: {torch.cuda.get_device_name(self.device)}"
        return str(self.device)
