"""Rewrites the field of a service's error, which is a field of its own request, to the caller's name for it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from servekit.errors import ServeError

_INDEX = re.compile(r"\[\d+\]")


@contextmanager
def rename_fields(**names: str) -> Iterator[None]:
    """Rewrite the field of each error raised in the block to the caller's name for it.

    Args:
        names: The caller's fields, by the service's without indices: `audio`, `clips.label`. A nested field takes
            the name of its nearest parent that is listed. Each `[]` in the caller's name stands for the next index
            in the service's, if there is one.
    """
    try:
        yield
    except ServeError as error:
        error.field = _renamed(error.field, names)
        raise


def _renamed(field: str, names: Mapping[str, str]) -> str:
    path = _INDEX.sub("", field)
    while path and path not in names:
        path = path.rpartition(".")[0]
    if not path:
        return field
    name = names[path]
    for index in _INDEX.findall(field):
        name = name.replace("[]", index, 1)
    return name.replace("[]", "")
