"""Which words of a phrase that is still going on can be relied upon.

LocalAgreement-2 (Liu et al. 2020, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
Hypothesis Selection"; Macháček et al. 2023, "Turning Whisper into Real-Time Transcription System"): a word stands once
two decodings, one after the other, have it in the same place.
"""

from servekit.media.scripts import words


class Agreement:
    """The words of one phrase, which become stable one after another and then never change.

    Attributes:
        stable: The words that stand.
        unstable: Those after them, as they were heard last, with the space that parts them from the stable ones.
    """

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._heard: list[str] = []

    @property
    def stable(self) -> str:
        return "".join(self._stable)

    @property
    def unstable(self) -> str:
        return "".join(self._heard[len(self._stable) :])

    def hear(self, text: str) -> None:
        """Compare a further decoding with the one before it."""
        before, self._heard = self._heard, self._after_stable(text)
        agreed = len(self._stable)
        while agreed < min(len(before), len(self._heard)) and before[agreed] == self._heard[agreed]:
            agreed += 1
        self._stable = self._heard[:agreed]

    def settle(self, text: str) -> str:
        """The last decoding as the phrase's text: it begins with all that was stable."""
        return "".join(self._after_stable(text))

    def stable_after(self, text: str) -> str:
        """The stable words behind a text that they begin with; none where they begin, or are spaced, otherwise."""
        begun = words(" ".join(text.split()))
        return "".join(self._stable[len(begun) :]) if self._stable[: len(begun)] == begun else ""

    def _after_stable(self, text: str) -> list[str]:
        """The words of a decoding, those in the places of the stable ones replaced by them."""
        return self._stable + words(" ".join(text.split()))[len(self._stable) :]
