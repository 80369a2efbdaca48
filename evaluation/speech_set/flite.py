"""Debian's flite, whose library reports word times."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from evaluation.speech_set import sound
from evaluation.speech_set.manifest import TimedWord
from evaluation.speech_set.packages import PackageMissing

_WORD = b"R:SylStructure.parent.parent.R:Token.parent"
_SIGNATURES = {
    "flite_synth_text": (ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_void_p]),
    "utt_relation": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "utt_wave": (ctypes.c_void_p, [ctypes.c_void_p]),
    "relation_head": (ctypes.c_void_p, [ctypes.c_void_p]),
    "item_next": (ctypes.c_void_p, [ctypes.c_void_p]),
    "path_to_item": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]),
    "ffeature_float": (ctypes.c_float, [ctypes.c_void_p, ctypes.c_char_p]),
    "cst_wave_save_riff": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
    "delete_utterance": (None, [ctypes.c_void_p]),
}


class FliteVoice:
    """One voice of flite.

    Args:
        name: `slt` and `rms` are American, `awb` is Scottish, all made from recordings of people (CMU ARCTIC). The
            word times of the first two are accurate to a frame of 5 ms, those of `awb` are not.

    Raises:
        PackageMissing: The package is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            self._flite = ctypes.CDLL("libflite.so.1", mode=os.RTLD_GLOBAL)
            for library in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
                ctypes.CDLL(library, mode=os.RTLD_GLOBAL)
            register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
        except OSError as error:
            raise PackageMissing(f"the voice {name}: apt-get install flite") from error
        for function, (result, arguments) in _SIGNATURES.items():
            getattr(self._flite, function).restype = result
            getattr(self._flite, function).argtypes = arguments
        register.restype = ctypes.c_void_p
        self._flite.flite_init()
        self._voice = register(None)
        self._times_words = name != "awb"

    def say(self, text: str) -> tuple[sound.Samples, tuple[TimedWord, ...]]:
        """Synthesize a text as samples, with its words, split at spaces, if their times are reliable."""
        utterance = self._flite.flite_synth_text(text.encode(), self._voice)
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "spoken.wav"
                self._flite.cst_wave_save_riff(self._flite.utt_wave(utterance), str(path).encode())
                samples = sound.decode(path)
            spans = list(self._spans(utterance)) if self._times_words else []
        finally:
            self._flite.delete_utterance(utterance)
        if not spans:
            return samples, ()
        words = zip(text.split(), spans, strict=True)
        return samples, tuple(TimedWord(text=word, start=round(a, 3), end=round(b, 3)) for word, (a, b) in words)

    def _spans(self, utterance: int) -> Iterator[tuple[float, float]]:
        """The times of each word: from the start of its first phone to the end of its last."""
        current, start, end = None, 0.0, 0.0
        segment = self._flite.relation_head(self._flite.utt_relation(utterance, b"Segment"))
        while segment:
            word, until = self._flite.path_to_item(segment, _WORD), self._flite.ffeature_float(segment, b"end")
            if word != current:
                if current:
                    yield start, end
                current, start = word, end
            end = until
            segment = self._flite.item_next(segment)
        if current:
            yield start, end
