"""Errors of local_models in one tree, and the one place where errors of other libraries become them.

LocalModelError             message, hint
├── EngineMissing           llama-cpp-python is not installed, or is not the version that the `local` extra pins; or a
│                           part of the `hf` extra is missing
├── BadModelFile            no GGUF or safetensors, truncated, corrupt, or an architecture that is not run; `path`
├── ModelNotFound           no such file and no such name in the catalogue
├── OutOfMemory             the model, or its KV cache, does not fit the budget
├── BadOption               an option or a request is wrong; `field` (also a ValueError)
│   ├── BadGrammar          the schema or GBNF cannot be used; the message says where
│   ├── BadTemplate         the chat template failed, or the model has none
│   └── PromptTooLong       `tokens` of the prompt, and the `room` that there is
├── UnfitAnswer             the answer does not fit the JSON Schema that it was asked in; `path`, `keyword`
├── Overloaded              the queue is full; the call was not started
├── DeadlineExceeded        `stage`: load, queue, prefill or decode; `within` in seconds (also a TimeoutError)
├── ModelClosed             the model was unloaded before or during the call
├── EngineFailed            llama.cpp or PyTorch reported a failure that ends this call, or all calls
│   └── WorkerDied          the isolated worker process ended; the next call starts another
└── DownloadFailed          `url`; the message has the answer of the server
"""

from collections.abc import Iterator
from contextlib import contextmanager


class LocalModelError(Exception):
    """Root of the errors: `message` says what went wrong, `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class EngineMissing(LocalModelError):
    """llama-cpp-python, or another part of the `local` or `hf` extra, is absent or has another version."""


class BadModelFile(LocalModelError):
    """The file cannot be run. It is checked first, because llama.cpp aborts the process over a broken file."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ModelNotFound(LocalModelError):
    """There is no such file and no such name in the catalogue."""


class OutOfMemory(LocalModelError):
    """The model or its KV cache does not fit; it was not loaded."""


class BadOption(LocalModelError, ValueError):
    """An option or a part of the request is wrong; `field` names it."""

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class BadGrammar(BadOption):
    """A JSON Schema or GBNF text that cannot constrain a reply."""


class BadTemplate(BadOption):
    """The chat template cannot render these messages."""


class PromptTooLong(BadOption):
    """The prompt leaves no room for an answer. `more` says how there would be more room, where there is a way."""

    def __init__(self, tokens: int, room: int, more: str = "") -> None:
        super().__init__(
            f"the prompt has {tokens} tokens, and {room} fit",
            field="messages",
            hint=f"shorten it, or {more}" if more else "shorten it: this model takes no more",
        )
        self.tokens, self.room = tokens, room


class UnfitAnswer(LocalModelError):
    """The answer, or the arguments of a call in it, are JSON that does not fit the schema: `keyword` says which part of
    the schema, `path` where in the answer. `may_differ`: the same call may have another answer."""

    def __init__(self, message: str, *, path: str = "", keyword: str = "", may_differ: bool = False) -> None:
        super().__init__(message, hint="ask again, or say in the prompt what the schema says")
        self.path, self.keyword, self.may_differ = path, keyword, may_differ


class Overloaded(LocalModelError):
    """The queue of waiting calls is full; the call was not started and may be made again."""


class DeadlineExceeded(LocalModelError, TimeoutError):
    """The deadline passed in the load, in the queue, in the prompt (prefill) or in the answer (decode)."""

    def __init__(self, stage: str, within: float) -> None:
        super().__init__(f"no answer within {within:g} s; time ran out in: {stage}")
        self.stage, self.within = stage, within


class ModelClosed(LocalModelError):
    """The model was unloaded before or during the call."""


class EngineFailed(LocalModelError):
    """llama.cpp or PyTorch failed in a way that ends the call."""


class WorkerDied(EngineFailed):
    """The worker process of the model ended during the call; the next call starts another."""


class DownloadFailed(LocalModelError):
    """A model could not be downloaded."""

    def __init__(self, message: str, *, url: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.url = url


@contextmanager
def translate_errors(action: str, extra: str = "local") -> Iterator[None]:
    """Turns errors of the engine's libraries into those of this module; `action` is a verb phrase for the message,
    `extra` the extra of the package that has the libraries."""
    try:
        yield
    except (LocalModelError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise EngineMissing(
            f"cannot {action}: {error.name or error} is not installed", hint=f"pip install 'three-mode[{extra}]'"
        ) from error
    except MemoryError as error:
        raise OutOfMemory(f"out of memory: cannot {action}") from error
    except (RuntimeError, OSError) as error:
        raise EngineFailed(f"cannot {action}: {error}") from error
