"""Installs the clients that `make clients` runs: build/clients for those in Python, node_modules for those in Node.

Runs on the standard library alone. A stamp in build/clients remembers what was installed.
"""

import hashlib
import shutil
import sys

from scripts.venv import ROOT, run

SCRIPTS = ROOT / "tests" / "support" / "clients"
WANTED = (SCRIPTS / "python" / "requirements.txt", SCRIPTS / "node" / "package.json")
ENVIRONMENT = ROOT / "build" / "clients"
STAMP = ENVIRONMENT / "installed"


def main() -> None:
    """Installs what is not there yet."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in WANTED)).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return
    if shutil.which("npm") is None:
        sys.exit("three-mode: clients in Node need npm: install Node.js 20 or later and call this again")
    print("three-mode: installing clients of other makers into build/clients", flush=True)
    run(sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT))
    pip = (str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-deps", "-r", str(WANTED[0]))
    npm = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
    run("npm", "install", "--prefix", str(WANTED[1].parent), *npm)
    STAMP.write_text(digest)


if __name__ == "__main__":
    main()
