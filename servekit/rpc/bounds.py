"""Bounds of the numbers in a request."""

from typing import TypeVar

from servekit.rpc.errors import InvalidArgument

Number = TypeVar("Number", int, float)


def within(value: Number, least: float, most: float, field: str) -> Number:
    """The value.

    Raises:
        InvalidArgument: It is not between `least` and `most`, or is NaN.
    """
    if not least <= value <= most:  # NaN is not
        raise InvalidArgument(f"{field} is {value:g}; it has to be between {least:g} and {most:g}", field=field)
    return value
