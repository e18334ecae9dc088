"""Files of kept prompts that are damaged, cut off, foreign, half written, or too many; folders that take no more."""

import errno
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from local_models.kept import files, folder
from local_models.kept.files import BadFile
from local_models.kept.folder import KeptFolder
from local_models.kept.index import BLOCK, KeptPiece
from tests.support.local_models.children import ROOT
from tests.support.local_models.kept import KEY, piece_of

TOKENS = list(range(2 * BLOCK))


def kept_in(root: Path, limit: int = 1 << 30, key: str = KEY) -> KeptFolder:
    made = KeptFolder(str(root), limit, key)
    made.open()
    return made


def written(root: Path, tokens: list[int] = TOKENS, key: str = KEY) -> tuple[KeptPiece, Path]:
    """A piece with its file."""
    piece, layout = piece_of(tokens, seed=tokens[0])
    piece.file = kept_in(root, key=key).write(piece, layout)
    return piece, root / key / piece.file


def test_a_piece_comes_back_as_it_was_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    root = tmp_path / "kept"
    old = os.umask(0)
    try:
        piece, path = written(root)
    finally:
        os.umask(old)
    again = KeptFolder(str(root), 1 << 30, KEY)
    [(name, header)] = again.open()
    assert (name, header.text, header.start) == (piece.file, piece.text, 0)
    found = again.read(piece)
    assert found is not None
    assert piece.data is not None
    assert np.array_equal(found[1], piece.data)
    assert [oct(p.stat().st_mode & 0o777) for p in (root, path.parent, path)] == ["0o700", "0o700", "0o600"]


def test_bits_that_flipped_anywhere_are_refused(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(BadFile):
            files.read(path, KEY, piece.text, 0)
    path.write_bytes(whole)
    files.read(path, KEY, piece.text, 0)


def test_files_cut_off_at_any_byte_or_longer_are_refused(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(BadFile):
            files.read_header(path, KEY)
    path.write_bytes(whole + b"\0")
    with pytest.raises(BadFile):
        files.read(path, KEY, piece.text, 0)


def test_a_file_of_another_model_under_our_name_is_refused_removed_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = KEY[::-1]
    for start in (0, 100, 200):
        _, path = written(tmp_path, [start + token for token in TOKENS], other)
        (tmp_path / KEY).mkdir(exist_ok=True)
        path.rename(tmp_path / KEY / path.name)
    ours = KeptFolder(str(tmp_path), 1 << 30, KEY)
    assert ours.open() == []
    assert ours.refused == 3
    assert not list((tmp_path / KEY).iterdir())
    assert caplog.text.count("refused") == 1


def test_a_file_that_was_swapped_for_another_text_is_refused(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    _, other = written(tmp_path, [5 + token for token in TOKENS])
    other.rename(path)
    assert kept_in(tmp_path).read(piece) is None
    assert not path.exists()


def test_a_link_is_not_followed_and_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    elsewhere = tmp_path / "elsewhere.kept"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    (tmp_path / KEY / "notes.txt").write_text("mine")
    ours = KeptFolder(str(tmp_path), 100, KEY)
    assert ours.open() == []
    assert ours.read(piece) is None
    assert elsewhere.exists()
    assert (tmp_path / KEY / "notes.txt").exists()


WRITER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from local_models.kept import files
from local_models.kept.folder import KeptFolder
from tests.support.local_models.kept import KEY, piece_of
at = int(sys.argv[2])
calls = 0
def counted(real):
    def run(*arguments, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return run
class Slow:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *error): self.file.close()
    def write(self, data): return self.file.write(data[:200])
    write = counted(write)
os.open, os.rename, os.unlink = counted(os.open), counted(os.rename), counted(os.unlink)
real = os.fdopen
os.fdopen = lambda *arguments, **named: Slow(real(*arguments, **named))
piece, layout = piece_of(list(range(32)))
kept = KeptFolder(sys.argv[1], 1 << 20, KEY)
kept.open()
calls = 0
kept.write(piece, layout)
print("whole")
"""


def test_a_program_that_is_killed_at_any_step_of_a_write_leaves_no_file_that_is_believed(tmp_path: Path) -> None:
    """Before each call of the system in turn."""
    whole = 0
    for at in range(1, 40):
        root = tmp_path / str(at)
        script = WRITER.format(root=str(ROOT))
        done = subprocess.run(
            [sys.executable, "-c", script, str(root), str(at)], capture_output=True, text=True, check=False, timeout=60
        )
        found = KeptFolder(str(root), 1 << 20, KEY)
        there = found.open()
        assert not found.refused
        if "whole" in done.stdout:
            assert len(there) == 1
            whole = at
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not there or list(root.glob("*/*.kept"))
        for name, header in there:
            files.read(root / KEY / name, KEY, header.text, 0)
    assert whole > 5, "no step was killed"


def test_parts_of_programs_that_were_killed_go_after_a_while(tmp_path: Path) -> None:
    _, path = written(tmp_path)
    old, fresh = (path.with_name(f"{path.stem}.{number}-0.part") for number in (1, 2))
    old.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(old, (1, 1))
    kept_in(tmp_path)
    assert not old.exists()
    assert fresh.exists()


def test_the_limit_holds_for_all_keys_together_and_the_least_recently_used_go_first(tmp_path: Path) -> None:
    _, path = written(tmp_path, key=KEY[::-1])
    size = path.stat().st_size
    limit = 3 * size + size // 2
    ours = kept_in(tmp_path, limit)
    os.utime(path, (1, 1))
    names = []
    for number in range(4):
        piece, layout = piece_of([1000 * number + token for token in TOKENS])
        names.append(ours.write(piece, layout))
        os.utime(tmp_path / KEY / names[-1], (10 + number, 10 + number))
        if number == 1:
            used, _ = piece_of(TOKENS)
            used.file = names[0]
            ours.touch(used)  # the first of ours is used again
        assert sum(each.stat().st_size for each in tmp_path.glob("*/*.kept")) <= limit
    assert not path.exists()
    assert sorted(each.name for each in (tmp_path / KEY).iterdir()) == sorted([names[0], names[2], names[3]])
    huge, layout = piece_of(list(range(64 * BLOCK)))
    assert kept_in(tmp_path, 100).write(huge, layout) == ""


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_disk_or_a_read_only_folder_is_written_no_more_and_still_read(
    tmp_path: Path, fault: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece, _ = written(tmp_path)
    ours = kept_in(tmp_path)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(fault, os.strerror(fault))

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(files.os, "fdopen", refuse)
        for start in (100, 200):
            other, layout = piece_of([start + token for token in TOKENS])
            assert ours.write(other, layout) == ""
    assert caplog.text.count("no longer kept") == 1
    assert not list(tmp_path.glob("*/*.part"))
    assert ours.read(piece) is not None
    other, layout = piece_of([300 + token for token in TOKENS])
    assert ours.write(other, layout) == "", "it stays off"


def test_a_folder_that_is_a_file_keeps_nothing_and_fails_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    ours = KeptFolder(str(tmp_path / "file"), 1 << 20, KEY)
    assert ours.open() == []
    piece, layout = piece_of(TOKENS)
    assert ours.write(piece, layout) == ""
    assert "no longer kept" in caplog.text


def test_a_folder_that_others_could_write_is_made_private(tmp_path: Path) -> None:
    (tmp_path / KEY).mkdir()
    (tmp_path / KEY).chmod(0o777)
    kept_in(tmp_path)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_cleared_is_made_again(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    ours = kept_in(tmp_path)
    path.unlink()
    path.parent.rmdir()
    assert ours.read(piece) is None
    layout = piece_of(TOKENS)[1]
    assert ours.write(piece, layout) == piece.file


SHARER = """
import sys
sys.path.insert(0, {root!r})
from local_models.kept.folder import KeptFolder
from tests.support.local_models.kept import KEY, piece_of
kept = KeptFolder(sys.argv[1], int(sys.argv[2]), KEY)
kept.open()
for number in range(60):
    piece, layout = piece_of([100 * (number % 20) + token for token in range(32)], seed=number % 20)
    piece.file = kept.write(piece, layout) or kept._name(piece) + ".kept"
    found = kept.read(piece)
    assert found is None or found[1].tobytes() == piece.data.tobytes()
assert kept.writes and not kept.refused
"""


def test_programs_that_share_a_folder_do_not_disturb_one_another(tmp_path: Path) -> None:
    """They write the same and other pieces, and make room at the same time."""
    _, path = written(tmp_path)
    size = path.stat().st_size
    limit = 8 * size
    script = SHARER.format(root=str(ROOT))
    programs = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), str(limit)], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for program in programs:
        _, said = program.communicate(timeout=60)
        assert program.returncode == 0, said
        assert "no longer" not in said
    kept_in(tmp_path, limit)
    assert sum(each.stat().st_size for each in tmp_path.glob("*/*.kept")) <= limit
    assert not list(tmp_path.glob("*/*.part"))


def test_a_reader_meets_whole_files_only_while_another_writes(tmp_path: Path) -> None:
    piece, path = written(tmp_path)
    layout, whole = piece_of(TOKENS)[1], path.read_bytes()
    stop = threading.Event()
    ours, other = kept_in(tmp_path), kept_in(tmp_path)

    def rewrite() -> None:
        while not stop.is_set():
            path.unlink(missing_ok=True)
            other.write(piece, layout)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(500):
            if (found := ours.read(piece)) is not None:
                assert piece.data is not None
                assert np.array_equal(found[1], piece.data)
    finally:
        stop.set()
        writer.join()
    assert not ours.refused
    assert path.read_bytes() == whole
    assert folder.ABANDONED > 60, "parts of programs that still write are left alone"
