"""The port of what speaks: a sentence in, its sound out."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.lane import Model


class Synthesizer(Model, Protocol):
    """Speaks."""

    @property
    def sample_rate(self) -> int:
        """Of what it speaks, in Hz."""

    @property
    def voices(self) -> tuple[str, ...]:
        """Their names, the default first."""

    def check(self, text: str) -> None:
        """Refuse what cannot be said.

        Raises:
            InvalidArgument: There is nothing to say in the text, or letters that the model cannot read.
        """

    def synthesize(self, text: str, voice: str, speed: float, flag: Flag) -> Iterator[NDArray[np.float32]]:
        """Speak a text that passed `check`: an array of (samples,) in [-1, 1] a sentence, each when it is ready.

        Raises:
            Cancelled, DeadlineExceeded: The flag was set; it is looked at before every sentence.
        """
