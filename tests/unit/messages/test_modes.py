"""An address says its mode; a mode that says otherwise is an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.errors import InvalidRequest, ModeConflict
from three_mode.modes import Address, CommunicationMode, anchored, names_files, resolve

HUMAN_AI, AI_AI, AI_PC, AUTO = CommunicationMode


@pytest.mark.parametrize(
    ("model", "mode", "expected"),
    [
        ("gpt-5.1", AUTO, Address(HUMAN_AI, "gpt-5.1")),
        ("llama3:8b", AUTO, Address(HUMAN_AI, "llama3:8b")),
        ("https://host/v1", AUTO, Address(HUMAN_AI, "https://host/v1")),
        ("agent:brain", AUTO, Address(AI_AI, "brain")),
        ("agent:scout/7", AI_AI, Address(AI_AI, "scout/7")),
        ("gguf:a/b.gguf", AUTO, Address(AI_PC, "a/b.gguf")),
        ("models/B.GGUF", AUTO, Address(AI_PC, "models/B.GGUF")),
        ("hf:owner/brain", AUTO, Address(AI_PC, "hf:owner/brain")),
        ("hf:/a/b", AI_PC, Address(AI_PC, "hf:/a/b")),
        ("tiny", AUTO, Address(AI_PC, "tiny")),
        ("tiny", HUMAN_AI, Address(HUMAN_AI, "tiny")),
        ("brain", AI_AI, Address(AI_AI, "brain")),
        ("other", AI_PC, Address(AI_PC, "other")),
    ],
)
def test_the_rule(model: str, mode: CommunicationMode, expected: Address) -> None:
    assert resolve(model, mode, local_names={"tiny"}) == expected


@pytest.mark.parametrize(
    ("model", "mode"),
    [("agent:brain", AI_PC), ("gguf:x.gguf", AI_AI), ("https://host/v1", AI_PC), ("x.gguf", HUMAN_AI), ("hf:x", AI_AI)],
)
def test_a_mode_that_contradicts_the_address_is_an_error(model: str, mode: CommunicationMode) -> None:
    with pytest.raises(ModeConflict) as caught:
        resolve(model, mode)
    assert caught.value.field == "mode"


@pytest.mark.parametrize("model", ["", "agent:", "gguf:", "hf:"])
def test_an_address_that_names_nothing_is_an_error(model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        resolve(model)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a.gguf", "/f/a.gguf"),
        ("gguf:a.gguf", "/f/a.gguf"),
        ("/x/a.gguf", "/x/a.gguf"),
        ("hf:./brain", "hf:/f/brain"),
        ("hf:../brain", "hf:/f/../brain"),
        ("hf:/x/brain", "hf:/x/brain"),
        ("hf:owner/brain", "hf:owner/brain"),
    ],
)
def test_a_relative_path_is_one_of_a_folder(address: str, expected: str) -> None:
    assert anchored(address, Path("/f")) == expected


def test_an_address_that_opens_files_is_told_from_others() -> None:
    assert all(map(names_files, ("gguf:x", "hf:x", "a/B.GGUF")))
    assert not any(map(names_files, ("tiny", "agent:brain", "owner/brain", "https://host/v1")))


@given(st.text(), st.sampled_from(CommunicationMode))
def test_every_text_is_an_address_or_a_named_error(model: str, mode: CommunicationMode) -> None:
    try:
        address = resolve(model, mode)
    except InvalidRequest:
        return
    assert address.mode is not AUTO
    assert mode in (AUTO, address.mode)
