"""A cache of the texts that were extracted from media, by content."""

from collections import OrderedDict

Key = tuple[str, str, str]


class ResultCache:
    """A least-recently-used cache of the texts of images and recordings.

    A key is the tenant, the model and the content address: no tenant can learn from a fast answer what another has
    sent.

    Args:
        size: The most entries.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._texts: OrderedDict[Key, str] = OrderedDict()

    def get(self, key: Key) -> str | None:
        """The text, or None."""
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def put(self, key: Key, text: str) -> None:
        """Add a text, and evict the least recently used beyond `size`."""
        self._texts[key] = text
        self._texts.move_to_end(key)
        while len(self._texts) > self._size:
            self._texts.popitem(last=False)
