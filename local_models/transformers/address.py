"""Addresses of Hugging Face models: `hf:PATH`, `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`. Pure."""

import re

SCHEME = "hf:"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?(@[\w.-]{1,64})?")


def is_hugging_face(model: str) -> bool:
    """Whether a name is an address of this package."""
    return model.startswith(SCHEME)


def hub_name(text: str) -> tuple[str, str] | None:
    """The repository and the revision of `OWNER/NAME` or `OWNER/NAME@REVISION`; None for a path."""
    if not _HUB_NAME.fullmatch(text) or ".." in text:
        return None
    name, _, revision = text.partition("@")
    return name, revision or "main"
