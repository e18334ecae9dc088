"""The page for people who come from other APIs: every name of the documents has a row, and each row is true."""

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "from-other-apis.md"
NAMES: dict[str, list[str]] = json.loads((ROOT / "tests" / "data" / "names_of_documents.json").read_text())
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<here>.+?) \| (?P<note>.*?) ?\|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    """Document, name, what it is here, and the note of each row."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        found += [(title, *match.groups()) for match in ROW.finditer(text)]
    return found


def resolve(path: str) -> Any:
    """What a dotted name stands for: a module, what it has, or a field of a class."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
            break
        except ModuleNotFoundError:
            continue
    else:
        raise ModuleNotFoundError(path)
    for name in parts[length:]:
        value = field_of(value, name) if not hasattr(value, name) else getattr(value, name)
    return value


def field_of(kind: Any, name: str) -> Any:
    """A field that has no value at its class."""
    fields = {each.name for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set()
    declared = {field for base in kind.__mro__ for field in vars(base).get("__annotations__", {})}
    if name not in fields | declared:
        raise AttributeError(f"{kind.__name__} has no {name!r}")
    return name


@pytest.mark.parametrize("document", NAMES)
def test_every_name_of_a_document_has_a_row(document: str) -> None:
    told = [name for title, name, _, _ in rows() if title == document]
    assert told == NAMES[document]


def test_each_row_is_true() -> None:
    checked = 0
    for _, name, here, note in rows():
        if here == "—":
            assert len(note) > 10, f"{name}: why not?"
            continue
        path = re.fullmatch(r"`([\w.]+)`", here)
        assert path is not None, here
        resolve(path[1])
        checked += 1
    assert checked > 200


def test_a_row_that_is_not_true_is_found() -> None:
    for path in ("three_mode.compat.mrc.LLMComunication", "three_mode.compat.mrc.LLMResponse.tokens", "nothing.at_all"):
        with pytest.raises((AttributeError, ModuleNotFoundError)):
            resolve(path)


def test_nothing_else_imports_the_names_of_the_documents() -> None:
    probe = (
        "import sys, three_mode, three_mode.connection, three_mode.sync, three_mode.serve, three_mode.cli.main;"
        "print([name for name in sys.modules if name.startswith('three_mode.compat')])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
