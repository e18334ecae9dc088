"""Which models clients may name. Pure: a name is judged by its looks alone, so that neither an answer nor the time that
it takes says which files, catalogues or addresses are there.
"""

from msgspec import Struct

from three_mode.errors import NotFound, PermissionDenied
from three_mode.modes import CommunicationMode, names_files

NOT_ALLOWED = "clients of this endpoint may not name files or addresses as models"


class ModelRule(Struct, frozen=True):
    """What clients of an endpoint may name."""

    only: frozenset[str] | None = None
    """Names that the operator gave, and nothing else; None: whatever the backend has under a name."""
    any_local: bool = False
    """Whether they may name files and models of Hugging Face as well. Addresses are never theirs to name."""

    def check(self, model: str, provider: str | None = None, mode: CommunicationMode | None = None) -> None:
        """Raises what the client is told: PermissionDenied for a file or an address, NotFound for a name that is none
        of those given. `provider` and `mode` are what the client said beside the name."""
        if provider is not None and "://" in provider:
            raise not_allowed()
        if self.only is not None and model in self.only:
            return
        if names_address(model):
            raise not_allowed()
        if names_local(model, mode):
            if not self.any_local:
                raise not_allowed()
        elif self.only is not None:
            raise unknown_model(model)


def names_address(model: str) -> bool:
    """Whether a name says which address to call."""
    return "://" in model or model.lstrip().lower().startswith("file:")


def names_local(model: str, mode: CommunicationMode | None = None) -> bool:
    """Whether a name says which files of this computer to open, or which model of Hugging Face to fetch. Under AI_PC a
    path is one without a scheme."""
    if names_files(model.strip().lower()):
        return True
    return mode is CommunicationMode.AI_PC and (model.startswith(("~", ".")) or "/" in model or "\\" in model)


def not_allowed() -> PermissionDenied:
    """The refusal of a file or an address: the same for each, whether it is there or not."""
    return PermissionDenied(
        NOT_ALLOWED, hint="GET /v1/models lists what they may name; --any-local-model lets them name local files"
    )


def unknown_model(model: str) -> NotFound:
    """The answer to a name that nothing has."""
    return NotFound(f"the model {model[:200]!r} does not exist", hint="GET /v1/models lists what answers")
