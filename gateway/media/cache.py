"""What was understood of media before, by their content."""

from collections import OrderedDict

Key = tuple[str, str, str]


class ResultCache:
    """Texts of images and recordings, the longest unused forgotten first.

    A key is the tenant, the model and the content's address: one tenant never
    learns from a quick answer what another has sent.

    Args:
        size: How many results are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._texts: OrderedDict[Key, str] = OrderedDict()

    def get(self, key: Key) -> str | None:
        """The result, if it is still there."""
        if key in self._texts:
            self._texts.move_to_end(key)
        return self._texts.get(key)

    def put(self, key: Key, text: str) -> None:
        """Keep a result."""
        self._texts[key] = text
        self._texts.move_to_end(key)
        while len(self._texts) > self._size:
            self._texts.popitem(last=False)
