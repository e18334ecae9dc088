"""`python -m scripts.protos`: the modules of `three_mode/grpc_messages` anew from the schemas in `proto/`.

`--check` writes nothing, and fails where what is checked in is not what the schemas say. The compiler is that of
grpcio-tools; what it writes is put into a pool of our own (`three_mode/grpc_messages/pool.py`), and so needs neither
the exact version of protobuf that it was written with, nor the names of the default pool.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
PACKAGE = ROOT / "three_mode" / "grpc_messages"
WIDTH = 96

MODULE = '''"""Messages of `proto/{source}`. Written by `python -m scripts.protos`: change the schema, not this file."""

from three_mode.grpc_messages.pool import load

DESCRIPTOR = load(
{data},
    globals(),
)
'''


def generated() -> dict[str, str]:
    """Name of each file of the package that is generated -> its text."""
    import grpc_tools
    from google.protobuf import descriptor_pb2
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "all.bin"
        out = (f"--pyi_out={folder}", f"--descriptor_set_out={described}")
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", *out, *sources]):
            raise SystemExit("the schemas do not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes())
        for file in files.file:
            stem = Path(file.name).stem + "_pb2"
            found[f"{stem}.py"] = MODULE.format(source=file.name, data=_literal(file.SerializeToString()))
            stub = Path(folder, file.name).with_name(f"{stem}.pyi").read_text()
            found[f"{stem}.pyi"] = f"# Written by `python -m scripts.protos` from proto/{file.name}.\n{stub}"
    return found


def _literal(data: bytes) -> str:
    """Bytes as lines of source."""
    return "\n".join(f"    {data[start : start + WIDTH // 3]!r}" for start in range(0, len(data), WIDTH // 3))


def main(arguments: list[str]) -> int:
    texts = generated()
    stale = [path.name for path in PACKAGE.glob("*_pb2.py*") if path.name not in texts]
    if arguments == ["--check"]:
        wrong = [name for name, text in texts.items() if _read(PACKAGE / name) != text] + stale
        if wrong:
            print(f"not what proto/ says: {', '.join(sorted(wrong))}; run `python -m scripts.protos`")
        return 1 if wrong else 0
    for name, text in texts.items():
        (PACKAGE / name).write_text(text)
    for name in stale:
        (PACKAGE / name).unlink()
    return 0


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
