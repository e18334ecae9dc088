"""The prefix trie and the cell count, each against the plainest model of itself."""

from hypothesis import given
from hypothesis import strategies as st

from local_models.scheduling.kv_cells import KvCells
from local_models.scheduling.prefix_trie import PrefixTrie, common_prefix_length

TEXT = st.lists(st.integers(0, 2), max_size=12)
ACTIONS = st.lists(st.tuples(st.sampled_from(["put", "drop"]), st.integers(0, 5), TEXT), max_size=30)


@given(TEXT, TEXT)
def test_common_is_the_length_of_the_equal_beginning(a: list[int], b: list[int]) -> None:
    plain = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    assert common_prefix_length(a, b) == plain


@given(ACTIONS, TEXT)
def test_the_trie_answers_as_a_dictionary_of_texts_would(
    actions: list[tuple[str, int, list[int]]], asked: list[int]
) -> None:
    trie, texts = PrefixTrie(), dict[int, list[int]]()
    for action, holder, text in actions:
        if action == "put":
            trie.put(holder, text)
            texts[holder] = text
        else:
            trie.drop(holder)
            texts.pop(holder, None)
        expected = {
            who: common_prefix_length(said, asked) for who, said in texts.items() if common_prefix_length(said, asked)
        }
        assert trie.shared(asked) == expected
    assert len(trie) == sum(1 for text in texts.values() if text)


def test_dropping_every_holder_leaves_nothing() -> None:
    trie = PrefixTrie()
    for holder in range(20):
        trie.put(holder, [1, 2, 3, *([holder] * holder)])
    for holder in range(20):
        trie.drop(holder)
    assert len(trie) == 0
    assert trie.shared([1, 2, 3]) == {}


CELLS = st.lists(
    st.tuples(st.sampled_from(["grow", "keep", "share"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)),
    max_size=40,
)


@given(CELLS)
def test_shared_cells_count_once(actions: list[tuple[str, int, int, int]]) -> None:
    cells, plain, fresh = KvCells(), {number: list[int]() for number in range(4)}, iter(range(10_000))
    for action, one, other, count in actions:
        if action == "grow":
            cells.grow(one, count)
            plain[one] += [next(fresh) for _ in range(count)]
        elif action == "keep":
            cells.keep(one, count)
            del plain[one][count:]
        elif one != other:
            cells.share(one, other, count)
            plain[other] = plain[one][:count]
        held = [cell for sequence in plain.values() for cell in sequence]
        assert cells.used == len(set(held))
        for number, sequence in plain.items():
            assert cells.length(number) == len(sequence)
            assert cells.own(number) == sum(1 for cell in sequence if held.count(cell) == 1)
