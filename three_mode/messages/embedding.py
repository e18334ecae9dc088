"""Embeddings: the request for vectors, and the reply with them, in every mode."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import force_setattr

from three_mode.errors import InvalidRequest
from three_mode.messages import checks
from three_mode.messages.usage import Usage


class EmbedRequest(Struct, frozen=True, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):
    """A request for vectors. `LLMConnection.embed` makes one; an agent's handler `embed` gets one."""

    texts: tuple[str, ...] = ()  #: the texts to embed; one string is one text
    tokens: tuple[tuple[int, ...], ...] = ()  #: texts as tokens of the model, in place of `texts`
    model: str | None = None  #: a model that embeds; None: the default of the provider
    dimensions: int | None = None  #: length of the vectors, for models that can shorten them
    within: float | None = None  #: deadline of the whole call in seconds
    extra: dict[str, Any] = {}  #: fields that go to the provider as they are

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            texts: Sequence[str] = ...,
            tokens: Sequence[Sequence[int]] = ...,
            model: str | None = None,
            dimensions: int | None = None,
            within: float | None = None,
            extra: dict[str, Any] = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.tokens == ():
            force_setattr(self, "texts", _texts(self.texts))
        elif self.texts != ():
            raise InvalidRequest("`tokens` stand in place of `texts`", field="texts", hint="give one of the two")
        else:
            force_setattr(self, "tokens", tuple(checks.token_ids(each, "tokens") for each in self.tokens))
        checks.model(self.model)
        checks.check_number(self, "within", 0.0)
        checks.check_count(self, "dimensions", 1)
        checks.check_json(self.extra, "extra")

    @classmethod
    def of(cls, inputs: str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]], **fields: Any) -> "EmbedRequest":
        """A request for one text or several, each as a string or as tokens."""
        given: Any = inputs
        first = given[0] if isinstance(given, list | tuple) and given else ""
        if isinstance(first, str):
            return cls(texts=given, **fields)
        return cls(tokens=(given,) if isinstance(first, int) else given, **fields)

    @property
    def inputs(self) -> tuple[str, ...] | tuple[tuple[int, ...], ...]:
        """What is embedded: the texts, or the tokens in their place."""
        return self.texts or self.tokens


class Embedded(Struct, frozen=True, omit_defaults=True):
    """Vectors, in the order of the texts; behaves as the sequence of the vectors."""

    vectors: tuple[tuple[float, ...], ...]  #: one vector for each text
    model: str = ""  #: the model that answered
    usage: Usage = Usage()  #: tokens used, and their cost
    provider: str = ""  #: the provider that answered

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)

    def __getitem__(self, index: int) -> tuple[float, ...]:
        return self.vectors[index]


def _texts(value: Any) -> tuple[str, ...]:
    """Converts one text, or several, to a tuple. A string is one text, not a sequence of letters."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("texts is a string, or a list of strings that is not empty", field="texts")
    return tuple(texts)
