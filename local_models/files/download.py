"""Fetches a model into the catalogue: continued where it broke off, checked, and only then given its name.

While it comes it is `NAME.gguf.part`, with a note of where from. A server that changed the file in between sends it whole again.
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
from local_models.files.catalogue import CatalogueEntry, folder, paths, valid_name
from local_models.gguf import check, summarize

HUB = "https://huggingface.co"
Progress = Callable[[int, int], None]  # bytes that are here, bytes in all (0: the server does not say)


def address(source: str) -> str:
    """The URL of `https://...`, or of a hub name: `OWNER/REPOSITORY/FILE.gguf`, perhaps after `hf:`."""
    if source.startswith(("http://", "https://")):
        return source
    parts = source.removeprefix("hf:").split("/")
    if len(parts) < 3 or not all(parts) or ".." in parts or not parts[-1].endswith(".gguf"):
        raise BadOption(
            f"`{source}` is neither a URL nor a hub name",
            field="source",
            hint="OWNER/REPOSITORY/FILE.gguf, or https://...",
        )
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    return f"{hub}/{parts[0]}/{parts[1]}/resolve/main/{'/'.join(parts[2:])}"


def _shown(url: str) -> str:
    """Without what may be a key."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.hostname or ''}{f':{split.port}' if split.port else ''}{split.path}"


def pull(
    source: str, name: str = "", *, sha256: str = "", progress: Progress | None = None, timeout: float = 30.0
) -> CatalogueEntry:
    """Downloads a model and catalogues it; call it again after a failure and it continues."""
    url = address(source)
    chosen = valid_name(name or Path(urlsplit(url).path).stem)
    target = folder() / f"{chosen}.gguf"
    if paths().get(chosen, ("", "built in"))[1] != "built in":
        raise BadOption(f"`{chosen}` is there already", field="name", hint="remove it first, or choose another name")
    if sha256 and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise BadOption("a SHA-256 is 64 hexadecimal digits", field="sha256")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with part.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(f"`{chosen}` is being downloaded by another process", url=_shown(url)) from None
        told = _fetch(url, file, part, progress, timeout)
        file.flush()
        os.fsync(file.fileno())
        _verify(part, sha256.lower() or told, url)
        summary = summarize(_checked(part, url))
        part.replace(target)
    _note(part).unlink(missing_ok=True)
    return CatalogueEntry(name=chosen, path=str(target), origin="here", summary=summary)


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch(url: str, file: IO[bytes], part: Path, progress: Progress | None, timeout: float) -> str:
    """Appends what is missing; gives the SHA-256 that the server named, if it named one."""
    with translate_errors("download models"):
        import httpx

    have = file.seek(0, os.SEEK_END)
    note = _read_note(_note(part))
    if have and note.get("url") != _shown(url):
        have = _restart(file)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if note.get("etag"):
            headers["If-Range"] = note["etag"]
    try:
        with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=timeout) as reply:
            if reply.status_code == 416:
                if int(reply.headers.get("Content-Range", "*/-1").rpartition("/")[2] or -1) == have:
                    return str(note.get("sha256", ""))
                _restart(file)
                raise DownloadFailed("the file changed on the server; call again", url=_shown(url))
            if reply.status_code not in (200, 206):
                hint = "it may need a login or a licence to be accepted" if reply.status_code in (401, 403) else ""
                raise DownloadFailed(
                    f"the server answered {reply.status_code} for {_shown(url)}", url=_shown(url), hint=hint
                )
            if reply.status_code == 200:
                have = _restart(file)
            elif not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise DownloadFailed("the server continued at another place", url=_shown(url))
            length = reply.headers.get("Content-Length")
            total = have + int(length) if length else 0
            told = _told(reply)
            etag = reply.headers.get("ETag", "")
            _note(part).write_text(
                json.dumps({"url": _shown(url), "etag": etag if etag.startswith('"') else "", "sha256": told})
            )
            for chunk in reply.iter_raw():  # as it comes: what is here when it breaks off is kept
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, total)
            if total and have != total:
                raise DownloadFailed(
                    f"it broke off at {have} of {total} bytes", url=_shown(url), hint="call again to continue"
                )
            return told
    except httpx.HTTPError as error:
        raise DownloadFailed(
            f"{_shown(url)}: {type(error).__name__} after {have} bytes",
            url=_shown(url),
            hint="call again to continue",
        ) from error
    except OSError as error:
        raise DownloadFailed(f"cannot write {part}: {error.strerror}", url=_shown(url)) from error


def _told(reply: Any) -> str:
    """The hub names the SHA-256 of large files in a header of the first answer."""
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


def _verify(part: Path, expected: str, url: str) -> None:
    if not expected:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise DownloadFailed(f"the SHA-256 is {found}, not {expected}; what came was deleted", url=_shown(url))


def _checked(part: Path, url: str) -> Any:
    try:
        return check(str(part))
    except BadModelFile as error:
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise DownloadFailed(f"what came is not a model that can be run: {error}", url=_shown(url)) from error
