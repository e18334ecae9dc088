"""States of sequences as llama.cpp writes them, made here, and pieces of them."""

import struct
from collections.abc import Sequence

import numpy as np

from local_models.kept import state as states
from local_models.kept.index import KeptPiece, text_of
from local_models.kept.state import Bytes, StateLayout

KEY = "0123456789abcdef" * 2


def made_state(tokens: int, *, layers: int = 2, transposed: bool = False, before: int = 0, behind: int = 0,
               positions: Sequence[int] = (), seed: int = 0) -> Bytes:  # fmt: skip
    """A state of so many tokens, with empty streams before and behind its own."""
    rng = np.random.default_rng(seed)
    order = positions or range(tokens)

    def rows(width: int) -> bytes:
        data = rng.integers(0, 256, (tokens, width), np.uint8)
        return data[list(order)].tobytes()

    raw = struct.pack("=IiI", states.MAGIC, 3, before + 1 + behind) + bytes(4 * before) + struct.pack("=I", tokens)
    raw += b"".join(struct.pack("=iIi", position, 1, 3) for position in order)
    raw += struct.pack("=II", transposed, layers)
    for layer in range(layers):
        raw += struct.pack("=iQ", 1, 8 + layer) + rows(8 + layer)
    for _ in range(layers):
        if transposed:
            values = rng.integers(0, 256, (3, tokens, 2), np.uint8)[:, list(order)]
            raw += struct.pack("=iII", 1, 2, 3) + values.tobytes()
        else:
            raw += struct.pack("=iQ", 1, 6) + rows(6)
    return np.frombuffer(bytearray(raw + bytes(4 * behind)), np.uint8)


def piece_of(tokens: Sequence[int], start: int = 0, seed: int = 0) -> tuple[KeptPiece, StateLayout]:
    """A piece of a text whose states are made here."""
    found = states.parse(made_state(len(tokens), seed=seed))
    data = states.cut(found, start, len(tokens))
    return KeptPiece(text_of(tokens), start, found.layout.token_bytes, data), found.layout
