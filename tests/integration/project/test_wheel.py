"""The wheel, not the tree: built, installed into an empty environment, and used from there."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SMOKE = """
import pathlib, three_mode, transports, local_models
from three_mode import LLMRequest, LLMResponse, fold
from three_mode.messages import from_msgpack, to_msgpack
for module in (three_mode, transports, local_models):
    assert "site-packages" in module.__file__, module.__file__
    assert (pathlib.Path(module.__file__).parent / "py.typed").exists(), module
request = LLMRequest(model="agent:brain", messages=[{"role": "user", "content": "Hello!"}])
assert from_msgpack(LLMRequest, to_msgpack(request)) == request
print("smoke: ok")
"""


def source_in(place: Path) -> Path:
    """What git would hand to somebody else, so that a forgotten file is missing here too."""
    source = place / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    return source


def built(place: Path, **environment: str) -> Path:
    source = source_in(place)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(source)],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
    )
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


def members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_it_brings_the_native_ring_and_the_small_model(wheel: Path) -> None:
    assert "transports/bus/_ring.abi3.so" in members(wheel)
    assert "local_models/tiny/tiny.gguf" in members(wheel)


def test_it_brings_packages_and_nothing_beside_them(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in members(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"three_mode", "transports", "local_models"}


def test_it_brings_the_files_of_the_page_and_the_licences_of_its_libraries(wheel: Path) -> None:
    page = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "three_mode/page/static").rglob("*") if path.is_file()
    }
    assert "three_mode/page/static/index.html" in page
    assert page - set(members(wheel)) == set()
    library = "three_mode/page/static/lib"
    with zipfile.ZipFile(wheel) as archive:
        for name, words in (("preact", "MIT License"), ("htm", "Apache License")):
            assert f"{library}/{name}.js" in page
            assert words in archive.read(f"{library}/{name}.LICENSE.txt").decode()


def test_the_training_of_the_small_model_stays_out_of_it(wheel: Path) -> None:
    tiny = [name for name in members(wheel) if name.startswith("local_models/tiny/")]
    assert sorted(tiny) == [f"local_models/tiny/{name}" for name in ("__init__.py", "tiny.gguf", "tiny.json")]
    assert not [name for name in members(wheel) if "tiny_model" in name or name.startswith("scripts/")]


def test_without_a_compiler_it_is_built_all_the_same(tmp_path: Path) -> None:
    """The ring is optional: the bus then runs on ZeroMQ, and the doctor says so."""
    assert not [name for name in members(built(tmp_path, CC="no-such-compiler")) if name.endswith(".so")]


def test_its_top_level_is_the_three_packages(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in members(wheel)}
    assert {name for name in tops if not name.endswith(".dist-info")} == {
        "three_mode",
        "transports",
        "local_models",
    }
    assert "cp311-abi3-linux" in wheel.name or "py3-none-any" in wheel.name


@pytest.mark.timeout(300)
def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    subprocess.run(
        [str(binaries / "pip"), "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel)],
        check=True,
        capture_output=True,
    )
    done = subprocess.run(
        [str(binaries / "python"), "-W", "error", "-c", SMOKE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "smoke: ok\n", done.stderr
    doctor = subprocess.run([str(binaries / "three-mode"), "doctor"], cwd=tmp_path, capture_output=True, text=True)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
