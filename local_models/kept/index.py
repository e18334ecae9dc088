"""Index of kept pieces: which piece has the state of which tokens, and what was used least recently. Pure.

A text is cut into blocks of 16 tokens. A block stands for all tokens up to its end, so blocks form a tree: texts with a
common beginning share its blocks, and a walk along a prompt finds how much of it is kept. Each block belongs to one
piece at most. A piece is the state of some blocks that follow one another in a text. One that goes leaves a gap, behind
which nothing is found until somebody has computed it again.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from local_models.kept.state import Bytes

BLOCK = 16
_TOKEN = 4  # bytes


def text_of(tokens: Sequence[int]) -> bytes:
    """Returns tokens as the index and the files have them: four bytes each, whole blocks only."""
    return array("i", tokens[: len(tokens) // BLOCK * BLOCK]).tobytes()


@dataclass(slots=True, eq=False)
class KeptPiece:
    """State of the tokens from `start` to the end of a text."""

    text: bytes  # all tokens from the beginning, as of `text_of`
    start: int
    token_bytes: int
    data: Bytes | None = None  # in memory
    file: str = ""  # name in the folder; "": it is in memory only
    blocks: int = 0  # those of the tree that belong to it
    touched: float = 0.0  # time of the last use that its file was told

    @property
    def end(self) -> int:
        """Tokens of the text."""
        return len(self.text) // _TOKEN

    @property
    def count(self) -> int:
        """Tokens of the piece."""
        return self.end - self.start

    @property
    def size(self) -> int:
        """Bytes of its state."""
        return self.count * self.token_bytes


@dataclass(frozen=True, slots=True)
class KeptRange:
    """Tokens `start` to `end` of a text, which are in a piece."""

    piece: KeptPiece
    start: int
    end: int


class _TextBlock:
    __slots__ = ("children", "piece")

    def __init__(self) -> None:
        self.children: dict[bytes, _TextBlock] = {}
        self.piece: KeptPiece | None = None


def _blocks(text: bytes) -> Iterator[bytes]:
    each = BLOCK * _TOKEN
    return (text[at : at + each] for at in range(0, len(text), each))


class PieceIndex:
    """Finds the pieces that have the beginning of a text."""

    def __init__(self) -> None:
        self._root = _TextBlock()

    def covered(self, text: bytes) -> int:
        """Returns how many tokens of a text are kept, from the first on."""
        block, found = self._root, 0
        for key in _blocks(text):
            child = block.children.get(key)
            if child is None or child.piece is None:
                break
            block = child
            found += BLOCK
        return found

    def cover(self, text: bytes) -> list[KeptRange]:
        """Returns the pieces that have the beginning of a text, in its order."""
        block, parts, at = self._root, list[KeptRange](), 0
        for key in _blocks(text):
            child = block.children.get(key)
            if child is None or child.piece is None:
                break
            if parts and parts[-1].piece is child.piece:
                parts[-1] = KeptRange(child.piece, parts[-1].start, at + BLOCK)
            else:
                parts.append(KeptRange(child.piece, at, at + BLOCK))
            block = child
            at += BLOCK
        return parts

    def missing(self, text: bytes) -> tuple[int, int]:
        """Returns the tokens of a text that a new piece should have: from the first that is not kept, up to the next
        that is, or to the end."""
        block: _TextBlock | None = self._root
        start, at = -1, 0
        for key in _blocks(text):
            block = block.children.get(key) if block is not None else None
            kept = block is not None and block.piece is not None
            if start < 0 and not kept:
                start = at
            elif start >= 0 and kept:
                return start, at
            at += BLOCK
        return (start if start >= 0 else at), at

    def add(self, piece: KeptPiece) -> bool:
        """Adds a piece; False: all its blocks belong to others already."""
        block, at = self._root, 0
        for key in _blocks(piece.text):
            child = block.children.get(key)
            if child is None:
                child = block.children[key] = _TextBlock()
            if at >= piece.start and child.piece is None:
                child.piece = piece
                piece.blocks += 1
            block = child
            at += BLOCK
        return piece.blocks > 0

    def remove(self, piece: KeptPiece) -> None:
        """Removes a piece."""
        path = [self._root]
        keys = list(_blocks(piece.text))
        for key in keys:
            child = path[-1].children.get(key)
            if child is None:
                break
            path.append(child)
        for depth in range(len(path) - 1, 0, -1):
            block = path[depth]
            if block.piece is piece:
                block.piece = None
            if block.piece is None and not block.children:
                del path[depth - 1].children[keys[depth - 1]]
        piece.blocks = 0


class RecentPieces:
    """Pieces under a budget of bytes, the least recently used first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._pieces: OrderedDict[KeptPiece, int] = OrderedDict()

    def __contains__(self, piece: KeptPiece) -> bool:
        return piece in self._pieces

    def use(self, piece: KeptPiece) -> None:
        """Notes that a piece is used now."""
        if piece in self._pieces:
            self._pieces.move_to_end(piece)

    def add(self, piece: KeptPiece) -> list[KeptPiece]:
        """Adds a piece; returns those that go for it, the piece itself where it alone is too large."""
        if piece.size > self.limit:
            return [piece]
        self.drop(piece)
        self._pieces[piece] = piece.size
        self.size += piece.size
        gone = []
        while self.size > self.limit:
            oldest = next(iter(self._pieces))
            self.drop(oldest)
            gone.append(oldest)
        return gone

    def drop(self, piece: KeptPiece) -> None:
        """Removes a piece."""
        self.size -= self._pieces.pop(piece, 0)

    def clear(self) -> None:
        """Removes all."""
        self._pieces.clear()
        self.size = 0
