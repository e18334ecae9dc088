"""Prefix trie: a radix trie over tokens that finds which sequences hold a beginning of a prompt. Pure.

A holder is a number (a sequence of the KV cache). Each node has all holders whose text passes through it, so that one
walk along a prompt finds how much each holder shares with it.
"""

from collections.abc import Sequence

Tokens = tuple[int, ...]


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Returns how many leading tokens are equal; compares slices by halving, which runs in C."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


class _PrefixNode:
    __slots__ = ("children", "edge", "holders")

    def __init__(self, edge: Tokens, holders: set[int]) -> None:
        self.edge = edge
        self.holders = holders
        self.children: dict[int, _PrefixNode] = {}


class PrefixTrie:
    """Texts by holder; `shared` finds how much of a prompt each of them holds."""

    def __init__(self) -> None:
        self._root = _PrefixNode((), set())
        self._texts: dict[int, Tokens] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, holder: int) -> Tokens:
        """Returns the tokens of a holder."""
        return self._texts.get(holder, ())

    def put(self, holder: int, tokens: Sequence[int]) -> None:
        """Replaces the tokens of a holder."""
        text = tuple(tokens)
        if self._texts.get(holder) == text:
            return
        self.drop(holder)
        if not text:
            return
        self._texts[holder] = text
        node, at = self._root, 0
        while at < len(text):
            child = node.children.get(text[at])
            if child is None:
                node.children[text[at]] = _PrefixNode(text[at:], {holder})
                return
            length = common_prefix_length(child.edge, text[at : at + len(child.edge)])
            if length < len(child.edge):
                child = self._split(node, child, length)
            child.holders.add(holder)
            node, at = child, at + length

    @staticmethod
    def _split(parent: _PrefixNode, child: _PrefixNode, length: int) -> _PrefixNode:
        upper = _PrefixNode(child.edge[:length], set(child.holders))
        child.edge = child.edge[length:]
        upper.children[child.edge[0]] = child
        parent.children[upper.edge[0]] = upper
        return upper

    def drop(self, holder: int) -> None:
        """Removes a holder."""
        text = self._texts.pop(holder, None)
        if text is None:
            return
        node, at = self._root, 0
        while at < len(text):
            child = node.children[text[at]]
            child.holders.discard(holder)
            if not child.holders:
                del node.children[text[at]]
                return
            at += len(child.edge)
            if len(child.children) == 1 and child.holders == (only := next(iter(child.children.values()))).holders:
                only.edge = child.edge + only.edge  # no text ends or branches here any more
                node.children[only.edge[0]] = only
                only.holders.discard(holder)
                child = only
                if at >= len(text):
                    return
            node = child

    def shared(self, tokens: Sequence[int]) -> dict[int, int]:
        """Returns the leading tokens of a prompt that each holder has; holders without any are absent."""
        text = tuple(tokens)
        found: dict[int, int] = {}
        node, at = self._root, 0
        while at < len(text):
            child = node.children.get(text[at])
            if child is None:
                break
            length = common_prefix_length(child.edge, text[at : at + len(child.edge)])
            at += length
            for holder in child.holders:
                found[holder] = at
            if length < len(child.edge):
                break
            node = child
        return found
