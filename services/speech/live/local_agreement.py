"""Which words of an unfinished utterance are final.

LocalAgreement-2 (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection"; Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System"): a word is committed
once two consecutive decodings have it in the same position.
"""

from servekit.media.scripts import words


class LocalAgreement:
    """The committed and tentative words of one utterance.

    Attributes:
        committed: The committed prefix, which never changes again.
        tentative: The words after it in the latest decoding, with the space before them.
    """

    def __init__(self) -> None:
        self._committed: list[str] = []
        self._latest: list[str] = []

    @property
    def committed(self) -> str:
        return "".join(self._committed)

    @property
    def tentative(self) -> str:
        return "".join(self._latest[len(self._committed) :])

    def update(self, text: str) -> None:
        """Compare a decoding with the previous one, and commit the words that agree."""
        before, self._latest = self._latest, self._after_committed(text)
        agreed = len(self._committed)
        while agreed < min(len(before), len(self._latest)) and before[agreed] == self._latest[agreed]:
            agreed += 1
        self._committed = self._latest[:agreed]

    def finalize(self, text: str) -> str:
        """The text of the last decoding, starting with the committed prefix."""
        return "".join(self._after_committed(text))

    def committed_after(self, text: str) -> str:
        """The committed words after a text that is a prefix of them; empty where it is not."""
        given = words(" ".join(text.split()))
        return "".join(self._committed[len(given) :]) if self._committed[: len(given)] == given else ""

    def _after_committed(self, text: str) -> list[str]:
        """The words of a decoding, with the committed prefix in place of its first words."""
        return self._committed + words(" ".join(text.split()))[len(self._committed) :]
