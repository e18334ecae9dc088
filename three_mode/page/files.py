"""The page's static files, read once: their bytes, also compressed, a tag of each, and one of all of them.

The addresses of scripts and styles hold the tag of all (`/page/static/TAG/app.js`), so that a browser may keep them for
ever and never mixes two versions.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent / "static"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
_TAG = "{tag}"
_SCRIPTS = "{scripts}"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every answer that is the page's."""


class StaticFile(NamedTuple):
    """One file as it is sent."""

    kind: str
    body: bytes
    packed: bytes
    """The same with gzip; empty where that is no shorter."""
    tag: str


class StaticFiles:
    """All files below a folder."""

    def __init__(self, root: Path = ROOT) -> None:
        found = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.suffix in KINDS}
        bodies = {name: path.read_bytes() for name, path in found.items()}
        whole = hashlib.sha256()
        for name, body in bodies.items():
            whole.update(name.encode() + b"\0" + body)
        self.tag = whole.hexdigest()[:16]
        scripts = [name for name in bodies if name.endswith(".js")]
        bodies["index.html"] = _filled(bodies["index.html"].decode(), self.tag, scripts)
        self.files = {name: _sent(name, body) for name, body in bodies.items()}

    @property
    def page(self) -> StaticFile:
        """The page itself."""
        return self.files["index.html"]

    def at(self, path: str) -> tuple[StaticFile, str] | None:
        """The file at a path below `/page/static/`, and how long it may be kept; None where there is none."""
        tag, _, rest = path.partition("/")
        if tag == self.tag and rest in self.files:
            return self.files[rest], FOR_EVER
        found = self.files.get(path)
        return None if found is None else (found, ASK_AGAIN)


@cache
def static_files() -> StaticFiles:
    """The page's files."""
    return StaticFiles()


def _filled(page: str, tag: str, scripts: list[str]) -> bytes:
    """The page with the addresses of its scripts, which a browser then asks for all at once."""
    links = "\n".join(f'<link rel="modulepreload" href="/page/static/{tag}/{name}">' for name in scripts)
    return page.replace(_TAG, tag).replace(_SCRIPTS, links).encode()


def _sent(name: str, body: bytes) -> StaticFile:
    packed = gzip.compress(body, 9, mtime=0)
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return StaticFile(KINDS[Path(name).suffix], body, packed if len(packed) < len(body) else b"", tag)
