"""Name tables: as a dictionary, whatever is put and removed in which order, and small."""

import random
import tracemalloc
from collections.abc import Callable

import pytest

from transports.bus import NameRows, name_rows

NAMES = [f"{group}/{number}" for group in ("scout", "a/b", "") for number in (*range(80), 500, 10**6)]
NAMES += ["host:a", "scout/", "scout/01", "scout/-1", "any:judge@node", "scout/0x", "scout/1234567890"]
NAMES += ["s\u00e4/7", "scout/\u0663"]


@pytest.mark.parametrize("most", [3, 65535])
def test_a_table_is_as_a_dictionary(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(name_rows, "_MOST_VALUES", most)
    monkeypatch.setattr(name_rows, "_RECENT", 8)
    for seed in range(30):
        chance = random.Random(seed)
        table: NameRows[str] = NameRows()
        expected: dict[str, str] = {}
        for _ in range(1000):
            name, value, what = chance.choice(NAMES), chance.choice("pqrstu"), chance.random()
            if what < 0.4:
                table[name] = expected[name] = value
            elif what < 0.42:
                some = chance.sample(NAMES, 40)
                table.put(some, value)
                expected.update(dict.fromkeys(some, value))
            elif what < 0.44:
                first = chance.randint(0, 90)
                some = [f"scout/{number}" for number in range(first, first + 20)]
                assert table.known(some) == [one for one in some if one in expected], seed
                assert table.put(some, value) == [one for one in some if expected.get(one) != value], seed
                expected.update(dict.fromkeys(some, value))
            elif what < 0.45:
                gone = [name for name, one in expected.items() if one == value]
                assert sorted(table.take(value)) == sorted(gone), seed
                for one in gone:
                    del expected[one]
            elif what < 0.8:
                assert table.pop(name) == expected.pop(name, None), (seed, name)
            else:
                assert table.get(name) == table.find(name) == expected.get(name), (seed, name)
                assert table.recent.items() <= expected.items(), seed
        assert table == expected, seed
        assert dict(table.pairs()) == expected, seed
        assert len(table) == len(expected), seed
        for value in "pqrstu":
            assert sorted(table.having(value)) == sorted(name for name, one in expected.items() if one == value), seed
        assert table.in_group("scout") == sum(name.rpartition("/")[0] == "scout" for name in expected), seed
        table.clear()
        assert (list(table), len(table), table.recent) == ([], 0, {})


def bytes_of(make: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        made = make()
        return tracemalloc.get_traced_memory()[0] if made is not None else 0
    finally:
        tracemalloc.stop()


def test_a_name_takes_two_bytes_and_none_once_it_has_gone() -> None:
    names = [f"scout/{number}" for number in range(20_000)]
    assert bytes_of(lambda: NameRows(names, "one")) < 2.5 * len(names)

    def rolling() -> NameRows[str]:
        """Make a table in which agents come and go for long, a hundred at a time."""
        table = NameRows(names[:100], "one")
        for number in range(100, len(names)):
            table[names[number]] = "one"
            table.pop(names[number - 100])
        return table

    assert bytes_of(rolling) < 4000
