"""The names that tenants give to what they make: voices and sound models."""

import re

from servekit.rpc.errors import InvalidArgument

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_name(text: str) -> bool:
    """Whether anything may be called so."""
    return bool(_NAME.fullmatch(text))


def checked_name(text: str) -> str:
    """The name.

    Raises:
        InvalidArgument: It is none.
    """
    if not is_name(text):
        rule = "1 to 64 letters, digits, _ and -, a letter or digit first"
        raise InvalidArgument(f"{text[:80]!r} is no name: {rule}", field="name")
    return text
