"""Terms of texts and queries: one form for words, and no syntax."""

from hypothesis import given
from hypothesis import strategies as st

from three_mode.memory.search import fused
from three_mode.memory.terms import indexed, match, query_terms, terms


def test_words_have_one_form() -> None:
    assert terms("Crème BRÛLÉE, twice!") == ["creme", "brulee", "twice"]
    assert terms("Straße STRASSE") == ["strasse", "strasse"]
    assert terms("snake_case e-mail 3.14") == ["snake", "case", "e", "mail", "3", "14"]
    assert terms("ﬁne") == ["fine"]


def test_scripts_without_spaces_are_pairs_of_letters() -> None:
    assert terms("我喜欢绿茶") == ["我喜", "喜欢", "欢绿", "绿茶"]
    assert terms("茶 GPT4模型") == ["茶", "gpt4", "模型"]
    assert terms("한국어") == ["한국", "국어"]


def test_a_query_keeps_what_says_something() -> None:
    assert query_terms("What does the cat of Alice like? The CAT!") == ["cat", "alice", "like"]
    assert query_terms("who is it") == ["who", "is", "it"], "unless there is nothing else"
    assert query_terms("") == []
    assert len(query_terms(" ".join(map(str, range(1000))))) == 200


@given(st.text(), st.integers(0, 10**6))
def test_a_term_has_no_syntax(text: str, namespace: int) -> None:
    for term in terms(text):
        assert not set(term) & set("\"*^(){}:_- \n\0'")
        assert 0 < len(term) <= 40
        assert match(namespace, term) == f'"{namespace}_{term}"'
    assert len(indexed(namespace, text).split(" ")) == max(1, len(terms(text)))


def test_ranks_are_fused() -> None:
    scores = fused([1, 2, 3], [2, 4])
    assert sorted(scores, key=lambda key: -scores[key])[0] == 2, "second and first is nearer than first alone"
    assert set(scores) == {1, 2, 3, 4}
    assert fused() == {}
