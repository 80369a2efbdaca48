"""faster-whisper without a service: each line of input names a mode, each line of output has its result as JSON.

Arguments: the folder of the weights, the number of threads, and the recordings, all in English.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio

RATE = 16_000
BATCH = 8
OPTIONS = {"language": "en", "beam_size": 5, "temperature": [0.0, 0.4, 0.8], "condition_on_previous_text": False}


class Direct:
    """Transcribes all recordings in one of three modes.

    Args:
        weights: The folder of the weights.
        threads: The number of threads over all workers.
        files: The recordings.
    """

    def __init__(self, weights: str, threads: int, files: Sequence[str]) -> None:
        def load(threads: int, workers: int) -> WhisperModel:
            return WhisperModel(weights, "cpu", compute_type="int8", cpu_threads=threads, num_workers=workers)

        self._files = files
        self._threads = threads
        self._wide, self._many = load(threads, 1), load(1, threads)

    def one_at_a_time(self) -> list[str]:
        """One recording after another on all threads, as the library's documentation shows first."""
        return [self._transcribe(self._wide, file) for file in self._files]

    def side_by_side(self) -> list[str]:
        """One worker for each thread, each with its own recording."""
        with ThreadPoolExecutor(self._threads) as pool:
            return list(pool.map(lambda file: self._transcribe(self._many, file), self._files))

    def batched(self) -> list[str]:
        """The library's batched pipeline over all recordings as one with clips, so that short ones fill a batch."""
        sounds = [decode_audio(file) for file in self._files]
        ends = np.cumsum([len(sound) for sound in sounds]) / RATE
        clips = [
            {"start": float(end - len(sound) / RATE), "end": float(end)}
            for end, sound in zip(ends, sounds, strict=True)
        ]
        # The silence at the end keeps the last clip, whose end is rounded, within the audio.
        whole = np.concatenate([*sounds, np.zeros(RATE, np.float32)])
        segments, _ = BatchedInferencePipeline(self._wide).transcribe(
            whole, batch_size=BATCH, clip_timestamps=clips, **OPTIONS
        )
        texts = [""] * len(clips)
        for segment in segments:
            number = min(int(np.searchsorted(ends, segment.start + 0.01)), len(clips) - 1)
            texts[number] += segment.text
        return texts

    def _transcribe(self, model: WhisperModel, file: str) -> str:
        segments, _ = model.transcribe(file, **OPTIONS)
        return "".join(segment.text for segment in segments)


def main() -> None:
    """Process the lines of the input until it ends."""
    weights, threads, *files = sys.argv[1:]
    direct = Direct(weights, int(threads), files)
    ways: dict[str, Callable[[], list[str]]] = {
        "one at a time": direct.one_at_a_time,
        "side by side": direct.side_by_side,
        "batched": direct.batched,
    }
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        texts = ways[line.strip()]()
        spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        sys.stdout.write(json.dumps(spent | {"texts": texts}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
