"""A model that is not here: downloaded where that is allowed, from a hub on loopback; without leave nobody is asked."""

import threading
from collections.abc import Iterator
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from pathlib import Path
from typing import Any

import pytest

from local_models import DownloadFailed, LoadOptions, ModelNotFound
from local_models.transformers.download import find_or_download
from local_models.transformers.folder import check_folder, find_here

Told = tuple[Path, dict[str, Any]]
pytestmark = [pytest.mark.hf, pytest.mark.timeout(300)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The part of the hub that a download asks for, with one repository, `owner/brain`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                hub.asked.append(self.path)
                name = self.path.rpartition(f"/owner/brain/resolve/{COMMIT}/")[2]
                if self.path.startswith("/api/models/owner/brain/revision/"):
                    siblings = [{"rfilename": each} for each in files]
                    self._send(dumps({"id": "owner/brain", "sha": COMMIT, "siblings": siblings}).encode())
                elif self.path.startswith("/api/models/owner/brain/tree/"):
                    tree = [
                        {"type": "file", "path": each, "size": len(body), "oid": sha1(body).hexdigest()}
                        for each, body in files.items()
                    ]
                    self._send(dumps(tree).encode())
                elif name in files:
                    self._send(files[name], {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT})
                else:
                    self.send_error(404)

            def _send(self, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(200)
                for header, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(header, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hub(hugging_face: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {file.name: file.read_bytes() for file in (hugging_face[0] / "llama").iterdir()}
    made = Hub(files | {"pytorch_model.bin": b"a pickle", "strange.py": b"code"})
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # of the user; the option is the newer word
    yield made
    made.close()


def test_a_model_is_downloaded_where_that_is_allowed_and_found_from_then_on(hub: Hub) -> None:
    folder = find_or_download("hf:owner/brain", LoadOptions(network=True))
    assert check_folder(folder).architecture == "llama"
    assert not {"pytorch_model.bin", "strange.py"} & {file.name for file in folder.iterdir()}
    count = len(hub.asked)
    assert find_here("hf:owner/brain") == folder
    assert find_or_download("hf:owner/brain", LoadOptions(network=True)) == folder
    assert len(hub.asked) == count


def test_without_leave_nobody_is_asked(hub: Hub) -> None:
    with pytest.raises(ModelNotFound, match="network=True"):
        find_or_download("hf:owner/brain", LoadOptions())
    assert hub.asked == []


def test_a_download_that_fails_says_why(hub: Hub) -> None:
    with pytest.raises(DownloadFailed, match="owner/other could not be downloaded"):
        find_or_download("hf:owner/other", LoadOptions(network=True))
