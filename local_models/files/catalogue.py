"""Catalogue of the models on this computer: a folder of GGUF files, and of notes that point to files elsewhere.

The folder is `$THREE_MODE_MODELS`, or `three-mode/models` under the user's data folder. A model is `NAME.gguf` in it,
or a note `NAME.json` with the path of a file. `tiny` comes with the package.
"""

import json
import os
import re
from pathlib import Path

import msgspec

from local_models.errors import BadModelFile, BadOption, LocalModelError, ModelNotFound
from local_models.files.known import KNOWN, KnownModel
from local_models.gguf import Summary, check, read, summarize

TINY = Path(__file__).parent.parent / "tiny" / "tiny.gguf"
"""File of the tiny model that comes with the package."""
BUILT_IN = {"tiny": TINY}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One model of the catalogue."""

    name: str
    path: str
    origin: str  #: "built in", "here" (in the catalogue's folder), "elsewhere", or "a file"
    summary: Summary | None = None  #: contents of the header; None: it cannot be read, or was not
    problem: str = ""  #: reason why the model cannot be used


def folder() -> Path:
    """Returns the folder of the catalogue, which may not exist."""
    if chosen := os.environ.get("THREE_MODE_MODELS"):
        return Path(chosen).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "three-mode" / "models"


def valid_name(name: str) -> str:
    """Returns the name, or raises `BadOption` if a model cannot have it."""
    if not _NAME.fullmatch(name) or name.endswith((".gguf", ".json", ".part")):
        raise BadOption(f"`{name}` is no name for a model: letters, digits, dots, dashes and underscores", field="name")
    return name


def _note(name: str) -> Path:
    return folder() / f"{name}.json"


def _noted_path(note: Path) -> Path:
    try:
        found = json.loads(note.read_text())["path"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModelFile(f"{note} is not a note of the catalogue", path=str(note)) from error
    return Path(str(found))


def paths() -> dict[str, tuple[Path, str]]:
    """Returns the path and the origin of each name. A model of the folder hides a built-in one of the same name."""
    found: dict[str, tuple[Path, str]] = {name: (path, "built in") for name, path in BUILT_IN.items() if path.exists()}
    models_folder = folder()
    if models_folder.is_dir():
        for file in sorted(models_folder.iterdir()):
            if file.suffix == ".gguf":
                found[file.stem] = (file, "here")
            elif file.suffix == ".json" and not file.name.endswith(".part.json"):
                try:
                    found[file.stem] = (_noted_path(file), "elsewhere")
                except BadModelFile:
                    found[file.stem] = (file, "elsewhere")
    return found


def entries() -> list[CatalogueEntry]:
    """Returns all models, each with the summary of its header or with the problem that makes it unusable."""
    made = []
    for name, (path, origin) in sorted(paths().items()):
        try:
            made.append(CatalogueEntry(name=name, path=str(path), origin=origin, summary=summarize(read(path))))
        except LocalModelError as error:
            made.append(CatalogueEntry(name=name, path=str(path), origin=origin, problem=str(error)))
    return made


def not_here() -> list[KnownModel]:
    """Returns the known models that are not in the catalogue: `pull` brings them."""
    here = paths()
    return [known for name, known in KNOWN.items() if name not in here]


def find(model: str) -> Path:
    """Returns the file of a name, a path, or `gguf:PATH`; raises `ModelNotFound`."""
    text = model.removeprefix("gguf:")
    if text == model and text in (known := paths()):
        return known[text][0]
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if os.sep in text or text.endswith(".gguf") or text != model:
        raise ModelNotFound(f"no such file: {path}")
    if text in KNOWN:
        raise ModelNotFound(f"`{text}` is not on this computer yet", hint=KNOWN[text].advice)
    names = ", ".join(paths()) or "none yet"
    raise ModelNotFound(f"no model `{model}`", hint=f"catalogued: {names}; `three-mode models add` or `pull` adds one")


def inspect(model: str) -> CatalogueEntry:
    """Returns one model, checked as before loading."""
    path = find(model)
    origin = next((origin for _, (where, origin) in paths().items() if where == path), "a file")
    return CatalogueEntry(name=model, path=str(path), origin=origin, summary=summarize(check(str(path))))


def add(path: str, name: str = "") -> CatalogueEntry:
    """Adds a file to the catalogue, under `name` or the name of the file; the file stays where it is."""
    where = Path(path.removeprefix("gguf:")).expanduser().resolve()
    summary = summarize(check(str(where)))
    chosen = valid_name(name or where.stem)
    known = paths().get(chosen)
    if known and known[1] != "built in" and known[0] != where:
        raise BadOption(
            f"`{chosen}` is {known[0]} already", field="name", hint="remove it first, or choose another name"
        )
    folder().mkdir(parents=True, exist_ok=True)
    part = _note(chosen).with_suffix(".part.json")
    part.write_text(json.dumps({"path": str(where)}) + "\n")
    part.replace(_note(chosen))
    return CatalogueEntry(name=chosen, path=str(where), origin="elsewhere", summary=summary)


def remove(name: str) -> CatalogueEntry:
    """Removes the note of a model, or deletes the model file if it lies in the catalogue's folder."""
    known = paths().get(name)
    if known is None:
        raise ModelNotFound(f"no model `{name}`")
    path, origin = known
    if origin == "built in":
        raise BadOption(f"`{name}` comes with the package", field="name")
    (path if origin == "here" else _note(name)).unlink(missing_ok=True)
    return CatalogueEntry(name=name, path=str(path), origin=origin)
