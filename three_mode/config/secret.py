"""Secret: a key that cannot be printed by accident."""

import hashlib


class Secret:
    """Key of an account.

    Only `reveal()` returns its text; `str` and `repr` show its first and last characters at most.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text of the key."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return f"Secret({masked(self._text)!r})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def fingerprint(self) -> str:
        """Hash that distinguishes keys without holding them, for the keys of caches."""
        return hashlib.blake2b(self._text.encode(), digest_size=8).hexdigest()


def masked(text: str) -> str:
    """Masks a key: `sk-...wxyz` for a long one, `...` for a short one."""
    return f"{text[:3]}...{text[-4:]}" if len(text) >= 20 else "..."
