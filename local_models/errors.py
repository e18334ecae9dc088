"""Everything that local_models raises, in one tree; and the one place where foreign errors become ours.

LocalModelError             message, hint
├── EngineMissing           llama-cpp-python is not installed, or not the version whose structs we know
├── BadModelFile            not a GGUF file, truncated, corrupt, or an architecture llama.cpp does not run; `path`
├── ModelNotFound           no such file and no such name in the catalogue
├── OutOfMemory             the model, or its KV cache, does not fit the budget
├── BadOption               an option or request that cannot be right; `field` (also a ValueError)
│   ├── BadGrammar          the schema or GBNF cannot be used; says where
│   ├── BadTemplate         the chat template failed, or the model has none
│   └── PromptTooLong       prompt tokens, and what fits
├── Overloaded              the queue is full; nothing was begun
├── DeadlineExceeded        `stage`: load, queue, prefill or decode (also a TimeoutError)
├── ModelClosed             the model was unloaded before or during the call
├── EngineFailed            llama.cpp reported a failure that only this call, or all of them, cannot survive
│   └── WorkerDied          the isolated worker process ended; it is being started again
└── DownloadFailed          `url`, what the server said, and whether the part that came is kept
"""

from collections.abc import Iterator
from contextlib import contextmanager


class LocalModelError(Exception):
    """The root: what went wrong, and in `hint` what to do about it."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class EngineMissing(LocalModelError):
    """llama-cpp-python, or another part of the `local` extra, is absent or of another version."""


class BadModelFile(LocalModelError):
    """The file cannot be run; said before llama.cpp could abort the process over it."""

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class ModelNotFound(LocalModelError):
    """Neither a file nor a name in the catalogue."""


class OutOfMemory(LocalModelError):
    """Refused before loading, because it would not fit."""


class BadOption(LocalModelError, ValueError):
    """`field` names the option or the part of the request that cannot be right."""

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class BadGrammar(BadOption):
    """A JSON Schema or GBNF text that cannot constrain a reply."""


class BadTemplate(BadOption):
    """The chat template cannot render these messages."""


class PromptTooLong(BadOption):
    """The prompt leaves no room for an answer."""

    def __init__(self, tokens: int, room: int) -> None:
        super().__init__(
            f"the prompt has {tokens} tokens, and {room} fit",
            field="messages",
            hint="shorten it, or load the model with a larger `context`",
        )
        self.tokens, self.room = tokens, room


class Overloaded(LocalModelError):
    """The queue of waiting calls is full; nothing was begun, so the same call may be made again."""


class DeadlineExceeded(LocalModelError, TimeoutError):
    """Time ran out while the model was loaded, while waiting, while reading the prompt, or while answering."""

    def __init__(self, stage: str, within: float) -> None:
        super().__init__(f"no answer within {within:g} s; time ran out in: {stage}")
        self.stage, self.within = stage, within


class ModelClosed(LocalModelError):
    """The model was unloaded."""


class EngineFailed(LocalModelError):
    """llama.cpp failed in a way that ends the call."""


class WorkerDied(EngineFailed):
    """The process that ran the model ended under the call; the next call starts another."""


class DownloadFailed(LocalModelError):
    """A model could not be fetched."""

    def __init__(self, message: str, *, url: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.url = url


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Turns what the engine's libraries raise into ours; `what` says what was being done."""
    try:
        yield
    except (LocalModelError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise EngineMissing(
            f"cannot {what}: {error.name or error} is not installed", hint="pip install 'three-mode[local]'"
        ) from error
    except MemoryError as error:
        raise OutOfMemory(f"out of memory: cannot {what}") from error
    except (RuntimeError, OSError) as error:
        raise EngineFailed(f"cannot {what}: {error}") from error
