"""Inputs that say themselves how they are cut."""


def cut(data: bytes) -> tuple[bytes, list[bytes]]:
    """The input without its first byte, and the same in pieces of lengths that follow from that byte."""
    if not data:
        return b"", []
    step, rest = data[0], data[1:]
    pieces = []
    at, size = 0, step % 13 + 1
    while at < len(rest):
        pieces.append(rest[at : at + size])
        at += size
        size = (size * 7 + step) % 61 + 1
    return rest, pieces


def parts(data: bytes, most: int = 16) -> list[bytes]:
    """Several inputs in one: each after its length in two bytes; what is left over belongs to the last."""
    found = []
    while len(data) >= 2 and len(found) < most - 1:
        size = int.from_bytes(data[:2], "little")
        found.append(data[2 : 2 + size])
        data = data[2 + size :]
    return [*found, data] if data else found


def joined(*inputs: bytes) -> bytes:
    """The input that `parts` takes apart again."""
    return b"".join(len(one).to_bytes(2, "little") + one for one in inputs)
