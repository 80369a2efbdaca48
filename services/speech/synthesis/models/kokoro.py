"""Kokoro 82M: one network with a style for each voice; English, Chinese and Japanese at 24 kHz.

It is StyleTTS 2 with an iSTFTNet decoder. The network takes (1, n) phoneme ids with a 0 at both ends, the (1, 256)
style of a voice for that number of phonemes, and a speed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import InvalidArgument
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, VoiceRow
from services.speech.synthesis.models.phonemes import Phonemize, phonemizers
from services.speech.synthesis.pace import trimmed

MAX_PHONEMES = 500  # a style has one row for each length up to 510
LANGUAGES = {"a": "en", "b": "en", "z": "zh", "j": "ja"}
_BREAK = re.compile(r"(?<=[,.!?;:])\s*|\s+")


class Kokoro:
    """The voices of one network. Thread-safe.

    Args:
        backend: The network.
        styles: The style (510, 1, 256) of each voice by its name, the default first; the first letter is the accent.
        phonemizers: The conversion of text to phonemes by accent.
    """

    sample_rate = 24_000
    cloned_languages: tuple[str, ...] = ()
    speeds = (0.5, 2.0)
    max_characters = 160

    def __init__(
        self,
        backend: TensorBackend,
        styles: Mapping[str, NDArray[np.float32]],
        phonemizers: Mapping[str, Phonemize],
    ) -> None:
        self._backend = backend
        self._styles = styles
        self._phonemizers = phonemizers
        self._ids: Mapping[str, int] = json.loads((files("hibari") / "assets/vocab.json").read_text())
        self.voices = tuple(VoiceRow(name, (LANGUAGES[name[0]],)) for name in styles)

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        try:
            phonemes = self._phonemizers[speaker.voice[0]](piece)
        except (LookupError, ValueError) as error:
            raise InvalidArgument(f"text must be pronounceable, got {cut(piece)!r}", field="text") from error
        style = self._styles[speaker.voice]
        for portion in _portions("".join(phoneme for phoneme in phonemes if phoneme in self._ids)):
            cancellation.raise_if_cancelled()
            tokens = [self._ids[phoneme] for phoneme in portion]
            feeds: dict[str, NDArray[Any]] = {
                "tokens": np.asarray([[0, *tokens, 0]], np.int64),
                "style": np.asarray(style[len(tokens) - 1], np.float32).reshape(1, -1),
                "speed": np.asarray([speed], np.float32),
            }
            yield trimmed(np.asarray(self._backend.infer(feeds)["audio"], np.float32).reshape(-1), self.sample_rate)

    def warm(self) -> None:
        greetings = {"en": "Good morning.", "zh": "早上好。", "ja": "おはようございます。"}
        for language in dict.fromkeys(row.languages[0] for row in self.voices):
            voice = next(row.name for row in self.voices if row.languages[0] == language)
            for _ in self.speak(greetings[language], Speaker(voice, language), 1.0, CancellationToken()):
                pass

    def close(self) -> None:
        self._backend.close()


def _portions(phonemes: str) -> Iterator[str]:
    """Split phonemes into portions of at most `MAX_PHONEMES`, after a mark or a word where possible."""
    while len(phonemes) > MAX_PHONEMES:
        breaks = [place.end() for place in _BREAK.finditer(phonemes, 1, MAX_PHONEMES)]
        cut = breaks[-1] if breaks else MAX_PHONEMES
        yield phonemes[:cut]
        phonemes = phonemes[cut:].lstrip()
    if phonemes.strip():
        yield phonemes


def load(spec: ModelSpec, settings: SpeechSettings) -> Kokoro:
    """Load the network and the voices.

    Options of the spec: `network`, a file; `styles`, an npz file of arrays; `voices`, names of these arrays.

    Raises:
        FailedPrecondition: The library for one of the languages is not installed.
    """
    folder = spec.folder(settings.models_dir)
    names = spec.options["voices"]
    with np.load(folder / spec.options["styles"], allow_pickle=False) as arrays:
        styles = {name: arrays[name] for name in names}
    backend = OnnxBackend(folder / spec.options["network"], settings.threads, settings.provider)
    return Kokoro(backend, styles, phonemizers(name[0] for name in names))
