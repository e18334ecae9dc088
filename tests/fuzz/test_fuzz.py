"""The corpus is replayed, each input within its bounds; and what the fuzzer is made of finds what was planted."""

import random
from pathlib import Path

import msgspec
import pytest

from tests.fuzz import planted
from tests.fuzz.corpus import FOLDER, inputs
from tests.fuzz.mutate import mutated
from tests.fuzz.pieces import cut, joined, parts
from tests.fuzz.seeds import all_seeds
from tests.fuzz.target import Target, TooMuch, checked
from tests.fuzz.targets import TARGETS

CHANGES = 12  # of each input, in a run of all tests


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_replayed(name: str) -> None:
    found = list(inputs(name))
    assert found, "no input: python -m tests.fuzz.seeds"
    for file, data in found:
        try:
            checked(TARGETS[name], data)
        except Exception as error:
            error.add_note(f"{FOLDER / name / file}")
            raise


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.shape == "json"])
def test_changed_values_are_answered_too(name: str) -> None:
    """A few changes of each, the same in every run: a first look at what a soak run does for a minute."""
    known = tuple(data for _, data in inputs(name))
    chance = random.Random(name)
    for data in known:
        for _ in range(CHANGES):
            changed = mutated("json", data, chance, known)
            if changed is not None:
                TARGETS[name].run(changed)


def test_each_target_has_a_corpus_and_the_seeds_are_those_of_the_script() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(TARGETS)
    seeds = all_seeds()
    assert set(seeds) == set(TARGETS)
    for name, each in seeds.items():
        kept = {file: data for file, data in inputs(name) if not file.startswith("found-")}
        assert kept == dict(each), f"{name}: run python -m tests.fuzz.seeds"


def test_an_input_that_never_ends_or_takes_too_much_is_found() -> None:
    checked(planted.LOOPS, b"x")
    with pytest.raises(TooMuch, match="lines of Python, the last in loops"):
        checked(planted.LOOPS, b"\0")
    checked(planted.HOARDS, b"\xff\xff\0\0")
    with pytest.raises(TooMuch, match="bytes of memory"):
        checked(planted.HOARDS, b"\0\0\0\4")


def test_a_changed_value_is_one_still_and_finds_a_planted_fault() -> None:
    known = (b'{"model": "m", "messages": [{"role": "user"}, {"role": "system"}]}', b'{"n": [1, {"x": null}]}')
    chance = random.Random(1)
    found = 0
    for _ in range(2_000):
        changed = mutated("json", known[0], chance, known)
        if changed is None:
            continue
        msgspec.json.decode(changed)
        try:
            planted.FIELD.run(changed)
        except AssertionError:
            found += 1
    assert found > 10
    assert mutated("json", b"{", chance) is None
    assert mutated("bytes", known[0], chance) is None


def test_inputs_say_themselves_how_they_are_cut() -> None:
    data = bytes(range(256)) * 3
    for step in (0, 7, 255):
        whole, pieces = cut(bytes((step,)) + data)
        assert whole == b"".join(pieces) == data
        assert len(pieces) > 1
    assert cut(b"") == (b"", [])
    assert parts(joined(b"", b"one", b"x" * 300) + b"!") == [b"", b"one", b"x" * 300, b"!"]
    assert parts(joined(*[b"x"] * 40), 3)[:2] == [b"x", b"x"]


# for long -------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The rings, built for the fuzzer."""
    from tests.fuzz.engine import build_native

    return build_native(tmp_path_factory.mktemp("native"))


def fuzzed(target: Target, native: dict[str, str], seconds: int, folder: Path) -> "tuple[int, str, str]":
    from tests.fuzz.engine import FuzzOptions, fuzz

    outcome = fuzz(target.name, FuzzOptions(seconds=seconds, findings=folder), native)
    return outcome.executions, outcome.finding, outcome.said


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_the_fuzzer_finds_a_planted_fault(native: dict[str, str], tmp_path: Path) -> None:
    _, finding, said = fuzzed(planted.DEEP, native, 60, tmp_path)
    assert Path(finding).read_bytes().startswith(b"frame")
    assert "the planted fault" in said


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_of_new_inputs(name: str, native: dict[str, str], tmp_path: Path) -> None:
    executions, finding, said = fuzzed(TARGETS[name], native, 60, tmp_path)
    assert not said, f"{finding}: keep it as tests/fuzz/corpus/{name}/found-WHAT\n{said}"
    assert executions > 100
