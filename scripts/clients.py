"""Installs the clients that `make clients` runs: build/clients for those in Python, node_modules for those in Node.

    python3 -m scripts.clients [large]     large: also those of hundreds of MB

Runs on the standard library alone, the parts side by side. A stamp in each part remembers what was installed.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.venv import ROOT, run, torch_requirement

SCRIPTS = ROOT / "tests" / "support" / "clients"
ENVIRONMENT = ROOT / "build" / "clients"
LOADS = ROOT / "build" / "guidellm"
NPM = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


@dataclass(frozen=True)
class Part:
    """Clients that are installed together: the file that pins them, where they go, and how they get there."""

    wanted: Path
    place: Path
    install: Callable[[], None]

    @property
    def stamp(self) -> Path:
        return self.place / ".installed"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.wanted.read_bytes()).hexdigest()

    @property
    def there(self) -> bool:
        return self.stamp.exists() and self.stamp.read_text() == self.digest

    def bring(self) -> None:
        """Installs it, and remembers that."""
        self.install()
        self.stamp.write_text(self.digest)


def python_part(place: Path, listed: str, *others: str) -> Part:
    """Clients in Python, in an environment of their own: those that a file lists, and others."""
    wanted = SCRIPTS / listed

    def install() -> None:
        """With uv where it is there. Nothing is resolved: the list names all; what is imported is compiled then."""
        run(sys.executable, "-m", "venv", "--clear", str(place))
        python, words = str(place / "bin" / "python"), ("--no-deps", "-r", str(wanted), *others)
        if shutil.which("uv"):
            run("uv", "pip", "install", "-q", "--python", python, *words)
        else:
            run(python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-compile", *words)

    return Part(wanted, place, install)


def npm_part(name: str, *options: str) -> Part:
    """Clients in Node."""
    folder = SCRIPTS / name

    def install() -> None:
        run("npm", "install", "--prefix", str(folder), *NPM, *options)

    return Part(folder / "package.json", folder / "node_modules", install)


def main(words: list[str]) -> None:
    """Installs what is not there yet."""
    parts = [python_part(ENVIRONMENT, "python/requirements.txt"), npm_part("node")]
    if "large" in words:
        parts.append(npm_part("large", "--omit=optional"))
        parts.append(python_part(LOADS, "large/guidellm.txt", torch_requirement()))
    lacking = [part for part in parts if not part.there]
    if not lacking:
        return
    if shutil.which("npm") is None:
        sys.exit("three-mode: clients in Node need npm: install Node.js 20 or later and call this again")
    print("three-mode: installing clients of other makers into build/clients and node_modules", flush=True)
    with ThreadPoolExecutor() as side_by_side:
        list(side_by_side.map(Part.bring, lacking))


if __name__ == "__main__":
    main(sys.argv[1:])
