"""Frozen options are Structs, and `dataclasses` takes them all the same."""

import dataclasses

import pytest

from three_mode.connection import ConnectionOptions, Observing
from three_mode.frozen_options import FrozenOptions
from three_mode.policies import CacheOptions, Policies, RetryOptions


@pytest.mark.parametrize("options", [ConnectionOptions(), Observing(), Policies(), RetryOptions(), CacheOptions()])
def test_dataclasses_know_the_fields(options: FrozenOptions) -> None:
    assert dataclasses.is_dataclass(options)
    assert tuple(field.name for field in dataclasses.fields(options)) == options.__struct_fields__
    assert dataclasses.replace(options) == options


def test_replace_changes_a_copy() -> None:
    before = Policies(retry=RetryOptions(attempts=2))
    after = dataclasses.replace(before, coalesce=True)
    assert (before.coalesce, after.coalesce, after.retry) == (False, True, RetryOptions(attempts=2))
    with pytest.raises(TypeError):
        dataclasses.replace(before, colaesce=True)


def test_options_are_frozen_and_set_by_name() -> None:
    with pytest.raises(AttributeError):
        Policies().coalesce = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        RetryOptions(3)  # type: ignore[misc]
