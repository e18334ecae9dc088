"""A file is checked once; one that was changed is checked again, and what is kept on disk may be anything."""

import os
import pwd
import shutil
from pathlib import Path

import msgspec
import pytest

from local_models.errors import BadModelFile
from local_models.files.catalogue import TINY
from local_models.llama import opening, weights
from local_models.llama.opening import FileFacts, open_model
from local_models.options import LoadOptions

OPTIONS = LoadOptions(threads=1, sequences=1, context=256)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what is kept; no file is too fresh to be kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(opening, "FRESH", 0.0)
    return tmp_path / "cache" / "three-mode" / "files"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(shutil.copy(TINY, tmp_path / "model.gguf"))


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Counts what is done only for a file that is not known: each check, and each search of its special tokens."""
    done: list[str] = []
    check, find = opening.check, weights.Weights._find_special

    def counted_check(path: str) -> object:
        done.append("check")
        return check(path)

    def counted_find(opened: weights.Weights) -> object:
        done.append("find")
        return find(opened)

    monkeypatch.setattr(opening, "check", counted_check)
    monkeypatch.setattr(weights.Weights, "_find_special", counted_find)
    return done


def opened(path: str) -> tuple[FileFacts, frozenset[int], tuple[int, ...]]:
    found = open_model(path, OPTIONS, own_process=False)
    found.weights.close()
    return found.facts, found.weights.ends, found.weights.control


def test_a_file_is_checked_once(kept: Path, model: str, checked: list[str]) -> None:
    first, *special = opened(model)
    assert checked == ["check", "find"]
    again, *same = opened(model)
    assert checked == ["check", "find"]
    assert again.summary == first.summary
    assert again.longest_token == first.longest_token
    assert same == special
    assert special[0]
    assert [file.suffix for file in kept.iterdir()] == [".json"]


def test_the_summary_has_the_path_that_was_asked_for(kept: Path, model: str, tmp_path: Path) -> None:
    opened(model)
    (tmp_path / "link.gguf").symlink_to(model)
    assert opened(str(tmp_path / "link.gguf"))[0].summary.path == str(tmp_path / "link.gguf")


def test_a_file_that_was_changed_is_checked_again(kept: Path, model: str, checked: list[str]) -> None:
    """Also one of the same size, whose time of change was set back."""
    opened(model)
    before = os.stat(model)
    whole = bytearray(Path(model).read_bytes())
    whole[len(whole) // 2] ^= 1
    with open(model, "r+b") as file:
        file.write(whole)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert os.stat(model).st_size == before.st_size
    opened(model)
    assert checked.count("check") == 2


def test_another_file_in_the_same_place_is_checked(kept: Path, model: str, checked: list[str], tmp_path: Path) -> None:
    opened(model)
    before = os.stat(model)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(before.st_size - 4))
    os.utime(broken, ns=(before.st_atime_ns, before.st_mtime_ns))
    broken.replace(model)
    with pytest.raises(BadModelFile):
        opened(model)
    with pytest.raises(BadModelFile):
        opened(model)
    assert checked == ["check", "find", "check", "check"]


def test_a_file_that_may_still_change_unseen_is_not_kept(
    kept: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "FRESH", 3600.0)
    opened(model)
    assert not kept.exists()


def test_a_file_that_changes_while_it_is_opened_is_not_kept(
    kept: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = weights.Weights._find_special

    def touch(found: weights.Weights) -> object:
        os.utime(model)
        return find(found)

    monkeypatch.setattr(weights.Weights, "_find_special", touch)
    opened(model)
    assert not kept.exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"summary": 1}', b"\xff" * 100, b"[" * 100_000, b"null", b'{"longest_token": 0}']
)
def test_garbage_is_checked_over(kept: Path, model: str, checked: list[str], content: bytes) -> None:
    expected = opened(model)
    (file,) = kept.iterdir()
    file.write_bytes(content)
    assert opened(model)[1:] == expected[1:]
    assert checked == ["check", "find"] * 2
    assert opened(model)[1:] == expected[1:]
    assert checked == ["check", "find"] * 2


@pytest.mark.parametrize("wrong", [{"vocabulary": 1}, {"ends": (1 << 20,)}, {"control": (-1,)}])
def test_tokens_that_cannot_be_are_found_again(
    kept: Path, model: str, checked: list[str], wrong: dict[str, object]
) -> None:
    """llama.cpp ends the process over a token that is not there."""
    expected = opened(model)
    (file,) = kept.iterdir()
    facts = msgspec.json.decode(file.read_bytes(), type=FileFacts)
    assert facts.special is not None
    facts = msgspec.structs.replace(facts, special=msgspec.structs.replace(facts.special, **wrong))
    file.write_bytes(msgspec.json.encode(facts))
    assert opened(model)[1:] == expected[1:]
    assert checked == ["check", "find", "find"]


def test_a_folder_that_cannot_be_written_does_no_harm(kept: Path, model: str) -> None:
    kept.parent.parent.mkdir(parents=True)
    kept.parent.write_text("a file where the folder should be")
    assert opened(model)[1]


def test_a_user_without_a_home_keeps_nothing(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_number: int) -> None:
        raise KeyError

    monkeypatch.setattr(opening, "FRESH", 0.0)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert opened(model)[1]


def test_who_only_asks_for_facts_gets_those_that_are_kept(kept: Path, model: str, checked: list[str]) -> None:
    """As a pool does, before it loads the model."""
    facts = opened(model)[0]
    assert opening.known_facts(model).summary == facts.summary
    assert checked == ["check", "find"]


def test_a_load_after_that_does_not_check_again(kept: Path, model: str, checked: list[str]) -> None:
    """The header of a file is read once, also where nothing was known of it before."""
    facts = opening.known_facts(model)
    assert checked == ["check"]
    assert opened(model)[0].summary == facts.summary
    assert checked == ["check", "find"]
    opened(model)
    assert checked == ["check", "find"]


def test_what_is_kept_is_bounded(kept: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MOST_KEPT", 3)
    for _ in range(5):
        os.utime(model)
        opened(model)
    assert len(list(kept.iterdir())) == 3


def test_a_long_template_is_not_kept(kept: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LONGEST_KEPT", 10)
    opened(model)
    assert not kept.exists()
