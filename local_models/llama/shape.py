"""Shape of a context. A value alone: what plans a model needs neither numpy nor a loaded library."""

import msgspec


class ContextShape(msgspec.Struct, frozen=True, kw_only=True):
    """Shape of a context."""

    sequences: int  #: sequences in the KV cache
    tokens: int  #: tokens of all sequences together
    batch: int  #: most tokens in one step
    threads: int
    unified: bool  #: True: all sequences share one pool of cells; False: each has an equal part
    kv_type: str = "f16"  #: type of the numbers in the KV cache: "f16", "q8_0" or "q4_0"
    embeddings: bool = False  #: True: every token is an output, for vectors of texts
    mean: bool = False  #: True: a model without a pooling type pools by the mean
