"""Folder of kept pieces: a file each, in a folder for each key; several programs may share it.

A file gets its name when it is whole: it is written under another name and then renamed, so a program that ends in
between leaves a part that nobody reads, and that goes after ten minutes. Nothing waits for the disk (no fsync): what a
failure of power damages is refused by its checksum, and is computed again. All files of all keys share one limit; the
least recently used go first, by their time of change, which a use sets. What is refused is removed, and said once.
"""

import hashlib
import itertools
import logging
import os
import re
import stat
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_models.kept import files
from local_models.kept.files import BadFile, PieceHeader
from local_models.kept.index import KeptPiece
from local_models.kept.state import Bytes, StateLayout

logger = logging.getLogger("local_models")
ABANDONED = 600.0  # seconds after which the part of a program that ended is removed
TOUCH_AGAIN = 60.0  # seconds between two uses of a file that are noted
_KEY, _NAME = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{40}\.kept")
_PART = re.compile(r"[0-9a-f]{40}\.\d+-\d+\.part")
_numbers = itertools.count()


class KeptFolder:
    """Files of one key below a folder. Belongs to the threads of `KeptPrompts`, one call at a time for each method.

    No method raises: a folder that cannot be written is written no more, and one that cannot be read has nothing.
    """

    def __init__(self, root: str, limit: int, key: str) -> None:
        self.root = Path(root).expanduser()
        self.limit = limit
        self._key, self._here = key, self.root / key
        self.writes = True  # whether pieces are written
        self.refused = 0  # files that were not what they should be
        self.size = 0  # bytes of all files of all keys, when they were last looked at

    # --- opening ---

    def open(self) -> list[tuple[str, PieceHeader]]:
        """Makes the folder of the key where there is none, and returns its files, those just used last."""
        try:
            self._make_private()
        except OSError as error:
            self._stop_writing(error)
        found = []
        for entry, _about in sorted(self._files(self._here), key=lambda each: each[1].st_mtime_ns):
            try:
                found.append((entry.name, files.read_header(Path(entry.path), self._key)))
            except BadFile as error:
                self._refuse(entry.name, error)
            except OSError:
                continue
        self._make_room(0)
        return found

    def _make_private(self) -> None:
        """Makes the folder of the key, which only its owner may look into; raises `OSError`."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._here.mkdir(mode=0o700)
        except FileExistsError:
            about = os.lstat(self._here)
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
                raise PermissionError(f"{self._here} is not a folder of this user") from None
            if stat.S_IMODE(about.st_mode) & 0o077:
                self._here.chmod(0o700)

    # --- pieces ---

    def read(self, piece: KeptPiece) -> tuple[StateLayout, Bytes] | None:
        """Reads the state of a piece; None: it is gone, or is not what it should be."""
        path = self._here / piece.file
        try:
            found = files.read(path, self._key, piece.text, piece.start)
        except BadFile as error:
            self._refuse(piece.file, error)
            return None
        except OSError:  # another program has removed it
            return None
        if self.due(piece):
            self.touch(piece)
        return found

    @staticmethod
    def due(piece: KeptPiece) -> bool:
        """Whether a use of a piece should be noted: not each one is."""
        return time.time() - piece.touched > TOUCH_AGAIN

    def touch(self, piece: KeptPiece) -> None:
        """Notes that a piece is used."""
        piece.touched = time.time()
        try:
            os.utime(self._here / piece.file)
        except OSError:
            pass  # gone, or not ours to change

    def write(self, piece: KeptPiece, layout: StateLayout) -> str:
        """Writes the state of a piece; returns the name of its file, "" where there is none."""
        data = piece.data
        if not self.writes or data is None:
            return ""
        name = self._name(piece)
        path = self._here / f"{name}.kept"
        if path.exists():  # another program has the same
            return path.name
        header = PieceHeader(self._key, piece.text, piece.start, layout, len(data), zlib.crc32(data.data))
        if not self._make_room(len(files.lead(header)) + len(data)):
            return ""
        part = self._here / f"{name}.{os.getpid()}-{next(_numbers)}.part"
        try:
            if not self._here.is_dir():  # somebody has cleared the folder
                self._make_private()
            files.write(part, header, data)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            self._stop_writing(error)
            return ""
        piece.touched = time.time()
        return path.name

    def _name(self, piece: KeptPiece) -> str:
        start = piece.start.to_bytes(4, "little")
        return hashlib.sha256(start + piece.text).hexdigest()[:40]

    # --- the limit ---

    def _make_room(self, more: int) -> bool:
        """Removes the least recently used files until so many more bytes fit; False: they never do."""
        if more > self.limit:
            return False
        there = [each for key in self._keys() for each in self._files(key)]
        self.size = sum(about.st_size for _, about in there)
        if self.size + more > self.limit:
            there.sort(key=lambda each: each[1].st_mtime_ns)
            for entry, about in there:
                try:
                    os.unlink(entry.path)
                except FileNotFoundError:
                    pass  # another program makes room too
                except OSError as error:
                    self._stop_writing(error)
                    return False
                self.size -= about.st_size
                if self.size + more <= self.limit:
                    break
        self.size += more
        return True

    def _keys(self) -> list[Path]:
        try:
            with os.scandir(self.root) as entries:
                return [
                    Path(each.path)
                    for each in entries
                    if _KEY.fullmatch(each.name) and each.is_dir(follow_symlinks=False)
                ]
        except OSError:
            return []

    def _files(self, folder: Path) -> Iterator[tuple["os.DirEntry[str]", Any]]:
        """The files of a key with what the system says of them. Parts of programs that ended long ago are removed."""
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError:
            return
        for entry in found:
            try:
                about = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(about.st_mode):
                    continue
                if _NAME.fullmatch(entry.name):
                    yield entry, about
                elif _PART.fullmatch(entry.name) and time.time() - about.st_mtime > ABANDONED:
                    os.unlink(entry.path)
            except OSError:
                continue

    # --- what is wrong ---

    def _refuse(self, name: str, error: BadFile) -> None:
        self.refused += 1
        if self.refused == 1:
            logger.warning(
                "a kept prompt is refused and removed, and so are all like it: %s: %s", self._here / name, error
            )
        try:
            (self._here / name).unlink()
        except OSError:
            pass

    def _stop_writing(self, error: OSError) -> None:
        if self.writes:
            self.writes = False
            logger.warning(
                "prompts are no longer kept in %s, those that are there are still read: %s", self.root, error
            )
