"""Prompt reader: turns texts, tokens and pictures of a request into the tokens of a call, and checks them."""

import time
from collections.abc import Callable, Sequence

from local_models.backend import GenerationRequest, how_to_have_more
from local_models.engine.images import ImageAt, add_image
from local_models.errors import BadGrammar, BadOption, PromptTooLong
from local_models.llama import Weights
from local_models.llama.projector import Projector
from local_models.options import LoadOptions
from local_models.prompts.gbnf import check_grammar
from local_models.prompts.pictures import MARK
from local_models.prompts.preparing import prepare

LONG_TEXT = 32_768  # characters; longer texts are tokenized on a thread
METHOD_SECONDS = 600.0  # longest preparation of a method other than a call

Prompt = tuple[list[int], Sequence[ImageAt]]
"""Tokens, and the images among them."""


class PromptReader:
    """Reads prompts for one model, from any thread. `most` is the tokens of the longest sequence, `longest_token` the
    characters of the longest token; `require_open` raises once the model is closed."""

    def __init__(
        self,
        weights: Weights,
        projector: Projector | None,
        options: LoadOptions,
        most: int,
        longest_token: int,
        trained: int,
        require_open: Callable[[], None],
    ) -> None:
        self._weights, self._projector, self._options = weights, projector, options
        self._most, self._longest_token, self._trained = most, longest_token, trained
        self._require_open = require_open

    def read(self, request: GenerationRequest) -> Prompt:
        """Checks the grammar and the length of a call, and returns its prompt."""
        if request.grammar and request.opens is None:
            for name in check_grammar(request.grammar):
                if len(self._weights.tokenize(name, special=True, start=False)) != 1:
                    raise BadGrammar(f"the grammar names {name}, which is no token of this model", field="grammar")
        self.check_tokens([int(token) for token in request.options.logit_bias], "logit_bias")
        characters = sum(map(len, request.parts))
        least = characters // self._longest_token
        if least > self._most:  # to tokenize it would take seconds
            raise self._too_long(least)
        images: Sequence[ImageAt] = ()
        if request.pictures:
            self._require_open()
            tokens, images = self._with_images(request.parts, request.pictures)
        elif request.tokens:
            self._require_open()
            self.check_tokens(request.tokens, "prompt")
            tokens = list(request.tokens)
        else:
            tokens = self._tokens(request.parts, start=True, special=request.special)
        if not tokens:
            raise BadOption("the prompt is empty", field="messages")
        if len(tokens) >= self._most:
            raise self._too_long(len(tokens))
        if images and images[-1].end == len(tokens):
            raise BadOption("nothing follows the last picture: a prompt ends with text", field="messages")
        return tokens, images

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        """Returns the tokens of parts; a long text is read on a thread."""
        until = time.monotonic() + METHOD_SECONDS
        if pictures:
            return (await prepare(lambda: self._with_images(parts, pictures), until, METHOD_SECONDS))[0]
        if sum(map(len, parts)) > LONG_TEXT:
            return await prepare(lambda: self._tokens(parts, start=start, special=special), until, METHOD_SECONDS)
        return self._tokens(parts, start=start, special=special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens."""
        self.check_tokens(tokens, "tokens")
        with self._weights.in_use():
            return b"".join(self._weights.piece(token) for token in tokens).decode("utf-8", "replace")

    def check_tokens(self, tokens: Sequence[int], field: str) -> None:
        """Raises `BadOption` for a token that this model does not have: llama.cpp would end the process."""
        if any(not 0 <= token < self._weights.vocabulary for token in tokens):
            raise BadOption(f"a token is between 0 and {self._weights.vocabulary - 1}", field=field)

    def _tokens(self, parts: Sequence[str], *, start: bool, special: bool) -> list[int]:
        self._require_open()
        ids: list[int] = []
        for index, part in enumerate(parts):
            ids += self._weights.tokenize(part, special=special, start=start and index == 0)
        return ids

    def _with_images(self, parts: Sequence[str], pictures: Sequence[bytes]) -> Prompt:
        """Returns a prompt with pictures in place of their marks. It takes long: each is encoded."""
        tokens: list[int] = []
        images: list[ImageAt] = []
        following = iter(pictures)
        projector = self._projector
        assert projector is not None
        with self._weights.in_use():
            for index, part in enumerate(parts):
                if part == MARK:
                    add_image(tokens, images, projector.encode(next(following)))
                else:
                    tokens += self._weights.tokenize(part, special=True, start=index == 0)
        whole = max([len(image.rows.stand_ins) for image in images if not image.rows.causal], default=0)
        if whole > self._options.batch:
            raise BadOption(
                f"a picture takes {whole} rows, which are computed together; `batch` is {self._options.batch}",
                field="messages",
                hint=f"load the model with a `batch` of {whole}",
            )
        return tokens, images

    def _too_long(self, tokens: int) -> PromptTooLong:
        return PromptTooLong(tokens, self._most - 1, how_to_have_more(self._most, self._trained, self._options))
