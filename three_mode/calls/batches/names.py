"""Names of batches, which say all that a restart needs: ids of jobs, and the custom ids of their requests.

    openai/gpt-5/batch_1,batch_2        a job: its provider, its model, and its batches at the provider
    3f9a0c2b71de-17-x-bWU               a request: its job, its place, how its reply is read, and whose it is

A custom id has at most 64 letters, digits, "-" and "_": Anthropic takes no other.
"""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, unquote

from msgspec import Struct

from three_mode.errors import InvalidRequest
from three_mode.policies import Target

LONGEST = 64
_CUSTOM = re.compile(r"([0-9a-f]{12})-(\d{1,9})-([tx])(?:-([A-Za-z0-9_-]*))?")


class RequestPlace(Struct, frozen=True):
    """Place of one request in a job."""

    job: str  #: by chance; the same for all requests of a job
    index: int  #: from 0, over all batches of the job
    emulated: bool = False  #: whether its tools are in the prompt, and calls must be read from the text
    label: str | None = None  #: who pays for it


def new_job_name() -> str:
    """A name for the custom ids of one job."""
    return secrets.token_hex(6)


def custom_id(place: RequestPlace) -> str:
    """The custom id of a place. A label that is too long for one is an InvalidRequest."""
    name = f"{place.job}-{place.index}-{'t' if place.emulated else 'x'}"
    if place.label is not None:
        name += "-" + urlsafe_b64encode(place.label.encode()).rstrip(b"=").decode("ascii")
    if len(name) > LONGEST:
        raise InvalidRequest(
            f"the label {place.label!r} is too long for a batch",
            field="metadata.label",
            hint="a label of up to 30 bytes travels with a request, so that its cost is known after a restart",
        )
    return name


def place_of(name: str) -> RequestPlace | None:
    """The place that a custom id names; None for a custom id of another program."""
    found = _CUSTOM.fullmatch(name)
    if found is None:
        return None
    job, index, flag, label = found.groups()
    try:
        said = None if label is None else urlsafe_b64decode(label + "=" * (-len(label) % 4)).decode()
    except ValueError:
        return None
    return RequestPlace(job, int(index), flag == "t", said)


def job_id(target: Target, batches: list[str]) -> str:
    """The id of a job."""
    return f"{quote(target.provider, safe='')}/{quote(target.model, safe='')}/{','.join(batches)}"


def read_job_id(job: str) -> tuple[Target, list[str]]:
    """Target and batches of a job. Another text is an InvalidRequest."""
    given: Any = job
    parts = given.split("/") if isinstance(given, str) else []
    batches = parts[2].split(",") if len(parts) == 3 else []
    if not all(parts) or not batches or not all(batches):
        raise InvalidRequest(
            f"{str(given)[:80]!r} is not the id of a batch job",
            field="id",
            hint="give the id of a BatchJob, as openai/gpt-5/batch_abc",
        )
    return Target(unquote(parts[0]), unquote(parts[1])), batches
