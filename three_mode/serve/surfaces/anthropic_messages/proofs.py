"""Proofs of thinking, which go back to the provider that gave them and to no other.

Anthropic's wire has a `signature` and no word for whose it is. One of Anthropic's goes out verbatim; any other goes out
behind the name of its provider, so that a client that sends it back, as it must, brings the name along. Pure.
"""

from urllib.parse import quote, unquote

_OWN = "anthropic"
_MARK = "three-mode:"


def sealed(provider: str | None, proof: str | None) -> str:
    """A proof as a client keeps it; "" where there is nothing to keep."""
    if proof and provider == _OWN and not proof.startswith(_MARK):
        return proof
    if not proof and provider is None:
        return ""
    return f"{_MARK}{quote(provider or '', safe='')}:{proof or ''}"


def opened(kept: str) -> tuple[str | None, str | None]:
    """The provider and its proof, of what a client kept."""
    if not kept:
        return None, None
    if not kept.startswith(_MARK):
        return _OWN, kept
    provider, _, proof = kept.removeprefix(_MARK).partition(":")
    return unquote(provider) or None, proof or None
