"""The catalogue, and downloads from a server on loopback that breaks off, changes its mind, and lies."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local_models import BadModelFile, BadOption, DownloadFailed, ModelNotFound
from local_models.files import catalogue
from local_models.files.catalogue import TINY
from local_models.files.download import address, pull
from three_mode.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THREE_MODE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


class Server(ThreadingHTTPServer):
    """Serves one body with ranges; `breaks_at` ends the first answers early."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.etag, self.breaks_at, self.ranges = body, '"one"', 0, True
        self.seen: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/model.gguf?key=sesame"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.seen.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not server.ranges or self.headers.get("If-Range", server.etag) != server.etag:
            start = 0
        if start >= len(server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", server.etag)
        self.end_headers()
        if server.breaks_at:
            rest, server.breaks_at = rest[: server.breaks_at], 0
            self.close_connection = True
        self.wfile.write(rest)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(TINY.read_bytes()) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_download_that_breaks_off_is_continued_and_checked(server: Server, home: Path) -> None:
    digest = hashlib.sha256(server.body).hexdigest()
    server.breaks_at = 700_000
    with pytest.raises(DownloadFailed) as failed:
        pull(server.url, "mine", sha256=digest)
    assert "sesame" not in str(failed.value) + failed.value.url
    assert (home / "mine.gguf.part").stat().st_size == 700_000
    assert "sesame" not in (home / "mine.gguf.part.json").read_text()
    seen: list[tuple[int, int]] = []
    entry = pull(server.url, "mine", sha256=digest, progress=lambda here, whole: seen.append((here, whole)))
    assert server.seen == ["", "bytes=700000-"]
    assert Path(entry.path).read_bytes() == server.body
    assert seen[-1] == (len(server.body), len(server.body))
    assert [path.name for path in home.iterdir()] == ["mine.gguf"]


def test_a_file_that_changed_in_between_comes_whole_again(server: Server, home: Path) -> None:
    server.breaks_at = 1000
    with pytest.raises(DownloadFailed):
        pull(server.url, "mine")
    server.etag = '"two"'
    assert Path(pull(server.url, "mine").path).read_bytes() == server.body


def test_a_server_without_ranges_and_a_part_that_is_complete(server: Server, home: Path) -> None:
    server.breaks_at = 1000
    with pytest.raises(DownloadFailed):
        pull(server.url, "mine")
    server.ranges = False
    assert Path(pull(server.url, "mine").path).read_bytes() == server.body
    server.ranges = True
    (home / "mine.gguf").rename(home / "other.gguf.part")
    (home / "other.gguf.part.json").write_text(json.dumps({"url": server.url.partition("?")[0], "etag": server.etag}))
    assert pull(server.url, "other").summary is not None
    assert server.seen[-1] == f"bytes={len(server.body)}-"


def test_a_wrong_checksum_and_what_is_no_model_are_deleted(server: Server, home: Path) -> None:
    with pytest.raises(DownloadFailed, match="SHA-256"):
        pull(server.url, "mine", sha256="0" * 64)
    server.body = b"<html>not a model</html>" * 10
    with pytest.raises(DownloadFailed, match="not a GGUF"):
        pull(server.url, "mine")
    assert list(home.iterdir()) == []


def test_no_server_and_no_address() -> None:
    with pytest.raises(DownloadFailed):
        pull("http://127.0.0.1:9/model.gguf", "mine", timeout=1)
    for wrong in ("model", "a/b", "owner/repo/../../file.gguf"):
        with pytest.raises(BadOption):
            address(wrong)
    assert address("hf:owner/repo/file.gguf").endswith("/owner/repo/resolve/main/file.gguf")


def test_adding_finding_and_removing(tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(TINY.read_bytes())
    entry = catalogue.add(str(copy), "mine")
    assert entry.summary is not None
    assert catalogue.find("mine") == copy == catalogue.find(f"gguf:{copy}")
    assert catalogue.find("tiny") == TINY
    assert [(each.name, each.origin) for each in catalogue.entries()] == [
        ("mine", "elsewhere"),
        ("tiny", "built in"),
    ]
    copy.write_bytes(b"GGUF")
    assert next(each for each in catalogue.entries() if each.name == "mine").problem
    catalogue.remove("mine")
    assert copy.exists()
    with pytest.raises(ModelNotFound, match="tiny"):
        catalogue.find("mine")
    with pytest.raises(BadModelFile):
        catalogue.add(str(copy))
    with pytest.raises(BadOption):
        catalogue.add(str(TINY), "../escape")
    with pytest.raises(BadOption):
        catalogue.remove("tiny")


def test_the_command_line_lists_inspects_pulls_and_removes(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", server.url, "--name", "mine", "--json"]) == 0
    capsys.readouterr()
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in listed["models"]] == ["mine", "tiny"]
    assert listed["devices"]
    assert main(["models", "inspect", "mine", "--context", "1024", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["architecture"] == "llama"
    assert found["memory_bytes"] == found["file_bytes"] + 1024 * found["kv_bytes_per_token"]
    assert main(["models", "remove", "mine"]) == 0
    assert main(["models", "inspect", "mine"]) == 1
    assert "tiny" in capsys.readouterr().err
    assert main(["models"]) == 0
    assert "tiny" in capsys.readouterr().out
