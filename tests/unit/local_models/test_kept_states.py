"""States cut by tokens and put together again, and the index of the pieces."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_models.kept import state as states
from local_models.kept.index import BLOCK, KeptPiece, PieceIndex, RecentPieces, text_of
from local_models.kept.state import BadState, StatePart
from tests.support.local_models.kept import made_state


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("before", "behind"), [(0, 0), (2, 3)])
def test_a_state_in_pieces_is_the_same_state(transposed: bool, before: int, behind: int) -> None:
    raw = made_state(20, transposed=transposed, before=before, behind=behind)
    found = states.parse(raw)
    cuts = [
        StatePart(states.cut(found, 0, 16), 16, 0, 8),
        StatePart(states.cut(found, 4, 12), 8, 4, 8),
        StatePart(states.cut(found, 12, 20), 8, 0, 8),
    ]
    again = states.assemble(found.layout, cuts, before + 1 + behind)
    assert len(again) == len(raw)
    assert states.same_cells(raw, again)
    assert not states.same_cells(raw, states.assemble(found.layout, cuts[:2], 1))
    if not before:
        assert again[:8].tobytes() == raw[:4].tobytes() + bytes(4)
        assert np.array_equal(again[16 + 20 * 12 :], raw[16 + 20 * 12 :])


def test_cells_in_another_order_than_their_tokens_are_put_into_order() -> None:
    mixed = list(range(8, 20)) + list(range(8))
    assert states.same_cells(made_state(20, positions=mixed), made_state(20))


@pytest.mark.parametrize("positions", [[0, 1, 3], [0, 1, 1], [1, 2, 3]])
def test_positions_with_gaps_are_refused(positions: list[int]) -> None:
    raw = made_state(3)
    cells = raw[16 : 16 + 36].view(np.int32).reshape(3, 3)
    cells[:, 0] = positions
    with pytest.raises(BadState, match="gaps"):
        states.parse(raw)


@pytest.mark.parametrize("transposed", [False, True])
def test_what_is_cut_off_or_longer_is_refused(transposed: bool) -> None:
    raw = made_state(3, transposed=transposed, behind=1)
    for length in range(len(raw)):
        with pytest.raises(BadState):
            states.parse(raw[:length])
    with pytest.raises(BadState):
        states.parse(np.concatenate([raw, raw[:5]]))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bits_of_a_state_end_in_an_error_or_in_a_state(data: st.DataObject) -> None:
    """Numbers in a state that say too much are no reason to read beyond it, or to ask for memory without end."""
    raw = made_state(5, transposed=data.draw(st.booleans()), behind=1)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = states.parse(raw)
    except BadState:
        return
    assert sum(view.size for view in found.planes) < len(raw)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_the_index_finds_what_is_kept_and_nothing_else(seed: int) -> None:
    rng = random.Random(seed)
    index, pieces = PieceIndex(), list[KeptPiece]()
    kept: dict[bytes, KeptPiece] = {}  # text up to the end of a block -> piece that has the block
    each = 4 * BLOCK

    def ends(text: bytes, start: int = 0) -> list[bytes]:
        return [text[:at] for at in range(4 * start + each, len(text) + 1, each)]

    for _ in range(40):
        tokens = [token for _ in range(rng.randint(0, 4)) for token in [rng.randint(0, 1)] * BLOCK]
        text = text_of(tokens + [7] * rng.randint(0, BLOCK - 1))
        expected = 0
        for end in ends(text):
            if end not in kept:
                break
            expected += BLOCK
        assert index.covered(text) == expected
        parts = index.cover(text)
        assert [(part.start, part.end) for part in parts] == sorted((part.start, part.end) for part in parts)
        assert sum(part.end - part.start for part in parts) == expected
        for part in parts:
            assert all(kept[end] is part.piece for end in ends(text[: 4 * part.end], part.start))
        start, end = index.missing(text)
        assert start == expected
        assert all(text[:at] not in kept for at in range(4 * start + each, 4 * end + 1, each))
        if start < end and rng.random() < 0.8:
            piece = KeptPiece(text[: 4 * end], start, 1)
            assert index.add(piece)
            pieces.append(piece)
            kept |= dict.fromkeys(ends(piece.text, start), piece)
        if pieces and rng.random() < 0.3:
            gone = pieces.pop(rng.randrange(len(pieces)))
            index.remove(gone)
            kept = {end: piece for end, piece in kept.items() if piece is not gone}
    for piece in pieces:
        index.remove(piece)
    assert not index._root.children, "blocks stay behind"


def test_the_least_recently_used_go_first_and_the_limit_holds() -> None:
    recent = RecentPieces(100)
    pieces = [KeptPiece(text_of([n] * BLOCK), 0, 2) for n in range(4)]  # 32 bytes each
    assert [recent.add(piece) for piece in pieces[:3]] == [[], [], []]
    recent.use(pieces[0])
    assert recent.add(pieces[3]) == [pieces[1]]
    assert recent.size == 96
    large = KeptPiece(text_of([9] * BLOCK), 0, 7)
    assert recent.add(large) == [large]
    assert recent.size == 96
