"""Pieces of a local model as chunks of an answer."""

import time
from collections.abc import Sequence
from pathlib import Path

from local_models import Piece, TokenScore
from three_mode.channels import ai_pc_wire as wire
from three_mode.messages import Chunk, Start, TextDelta
from three_mode.modes import CommunicationMode


class LocalChunks:
    """Of one answer."""

    __slots__ = ("_model", "_scores", "_started", "began")

    def __init__(self, model: str) -> None:
        self._model, self._started = model, time.monotonic()
        self._scores: list[TokenScore] = []  # of all pieces, where they were asked for
        self.began = False
        """Its start was among what was made. It goes with the first content, which it would only delay."""

    def of(self, pieces: Sequence[Piece]) -> list[Chunk]:
        """[] for text held back, because it may become a tool call."""
        batch: list[Chunk] = []
        for piece in pieces:
            if piece.scores and piece.finish is None:
                self._scores += piece.scores
            if piece.finish is None:  # by far the most of them
                if piece.text:
                    batch.append(TextDelta(piece.text))
            else:
                batch += wire.chunks_of_piece(piece, time.monotonic() - self._started, tuple(self._scores))
        if batch and not self.began:
            self.began = True
            batch.insert(0, Start(shown(self._model), wire.PROVIDER, CommunicationMode.AI_PC))
        return batch


def shown(name: str) -> str:
    """`models/tiny.gguf` is `tiny` in a reply: a path of this machine is nobody else's business."""
    return Path(name).stem if name.lower().endswith(".gguf") else name
