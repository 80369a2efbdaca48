"""The errors of records, common to every implementation."""

import math
from collections.abc import Mapping
from typing import Any

from servekit.echo import cut
from servekit.errors import InvalidArgument, NotFound, Unavailable


def check_storable(field: str, *values: Any) -> None:
    """Check that values can be stored.

    Raises:
        InvalidArgument: A text has the character U+0000, or a number is not finite.
    """
    for value in values:
        if isinstance(value, str) and "\0" in value:
            raise InvalidArgument(f"{field} must not have the character U+0000", field=field)
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidArgument(f"{field} must have finite numbers, got {value}", field=field)
        if isinstance(value, Mapping):
            check_storable(field, *value, *value.values())


def not_found(noun: str, name: str, field: str) -> NotFound:
    """The error for an id without a record."""
    return NotFound(f"no {noun} named {cut(name)!r}", field=field)


def change_ended() -> Unavailable:
    """The error for a change that is not recorded any more."""
    return Unavailable("attaching or detaching the file took too long: try again", retry_after=0.0)


def upload_expired() -> Unavailable:
    """The error for an upload that is not recorded any more."""
    return Unavailable("the upload took too long: send the file again", retry_after=0.0)
