"""Bounds of request values that the gateway and a service share, and their checks."""

import re
from typing import TypeVar

from servekit.echo import cut
from servekit.errors import InvalidArgument

Number = TypeVar("Number", int, float)

SPEED = (0.25, 4.0)  # of speech, relative to the voice's own
LOUDNESS_LUFS = (-40.0, -5.0)
FALSE_ALARM_RATE = (0.001, 0.2)

NAME_RULE = "1 to 64 letters, digits, _ and -, the first a letter or a digit"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def within(value: Number, least: float, most: float, field: str) -> Number:
    """The value.

    Raises:
        InvalidArgument: The value is not in [least, most], or is NaN.
    """
    if not least <= value <= most:  # NaN is not
        raise InvalidArgument(f"{field} must be in [{least:g}, {most:g}], got {value:g}", field=field)
    return value


def is_name(text: str) -> bool:
    """Whether a tenant may give this name to something: a voice, a sound model, a collection."""
    return bool(_NAME.fullmatch(text))


def check_name(text: str, field: str = "name") -> str:
    """The name.

    Raises:
        InvalidArgument: The text is not a valid name.
    """
    if not is_name(text):
        raise InvalidArgument(f"{field} must be {NAME_RULE}, got {cut(text)!r}", field=field)
    return text
