"""What describes a local model or what it may say: GGUF headers, grammars, JSON schemas and patterns."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from local_models.errors import BadGrammar, BadModelFile
from local_models.gguf import check, read, summarize
from local_models.gguf.reader import Header
from local_models.gguf.writer import write
from local_models.prompts.gbnf import check_grammar
from local_models.prompts.grammar import exact_grammar, schema_grammar
from local_models.prompts.schemas import check_schema
from tests.fuzz.target import Target

_files: dict[str, int] = {}


def _file(name: str) -> tuple[int, Path]:
    """A file in memory, and its path."""
    if name not in _files:
        _files[name] = os.memfd_create(name, os.MFD_CLOEXEC)
    return _files[name], Path(f"/proc/self/fd/{_files[name]}")


def gguf(data: bytes) -> None:
    """A file is read or refused; what the writer can say of it is read again as it was."""
    fd, path = _file("model")
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)
    with suppress(BadModelFile):
        check(str(path))
    try:
        header = read(path, arrays=True)
    except BadModelFile as error:
        assert str(path) in str(error)
        return
    assert header.data_at <= len(data) + 32
    with suppress(BadModelFile):
        summarize(header)
    _write_again(header)


def _write_again(header: Header) -> None:
    said = {key: value for key, value in header.metadata.items() if _can_be_written(value)}
    said.pop("general.alignment", None)
    folder = Path(f"/dev/shm/three-mode-fuzz-{os.getpid()}.gguf")
    try:
        write(folder, said, {})
        assert msgspec.msgpack.encode(read(folder, arrays=True).metadata) == msgspec.msgpack.encode(said)
    finally:
        folder.unlink(missing_ok=True)


def _can_be_written(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -(2**31) <= value < 2**32
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    return False


def grammar(data: bytes) -> None:
    """GBNF is let through or refused, with a short reason."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        check_grammar(text)
    except BadGrammar as error:
        assert 0 < len(str(error)) < 400


def schema(data: bytes) -> None:
    """A JSON schema is refused, or becomes a grammar that is let through."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    if not isinstance(value, dict):
        return
    for make in (check_schema, schema_grammar, exact_grammar):
        try:
            made = make(value)
        except BadGrammar as error:
            assert str(error)
            continue
        if make is schema_grammar:
            try:
                check_grammar(made)  # type: ignore[arg-type]
            except BadGrammar as error:
                if "more than" not in str(error):  # a limit that its own may pass as well
                    raise AssertionError("a grammar of ours is refused") from error


TARGETS = (
    Target(name="gguf", run=gguf, longest=8000, lines_a_byte=200),
    Target(name="grammar", run=grammar, shape="text", lines=2_000_000, lines_a_byte=20_000, memory=64 << 20),
    Target(name="schema", run=schema, shape="json", lines=4_000_000, lines_a_byte=20_000, memory=64 << 20),
)
