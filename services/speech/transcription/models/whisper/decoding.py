"""Whisper's decoder: encoder output and prompts in, tokens out, with temperature fallback.

The rules are those of Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision",
arXiv:2212.04356, section 4.5, with the bounds of the reference: a text that compresses too well is_repetitive
itself, one that is too improbable is wrong, and what is both improbable and probably no speech is silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_compression_ratio, get_ctranslate2_storage, get_suppressed_tokens
from numpy.typing import NDArray

from servekit.context import CancellationToken

MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6
TEMPERATURES = (0.0, 0.4, 0.8)  # beam search, then two attempts with sampling, which bounds the cost of noise
SAMPLES = 5  # texts sampled at once above temperature 0; the most probable is taken
MAX_TOKENS = 448  # positions of the decoder: prompt and text
MAX_WRITTEN_TOKENS = 220  # of a text without its prompt; the engine generates 224 at most
LATEST_START = 50  # in steps of 20 ms: a text starts within the first second


@dataclass(frozen=True, slots=True)
class Draft:
    """A decoded text of one window.

    Attributes:
        tokens: Text and timestamps, without the prompt.
        mean_log_probability: The mean log probability of the tokens, including the end token.
        no_speech_probability: The probability that there is no speech, 0 to 1.
        compression_ratio: The length of the text divided by its compressed length.
        temperature: The sampling temperature.
    """

    tokens: list[int]
    mean_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    temperature: float

    @property
    def is_repetitive(self) -> bool:
        """Whether the text repeats itself."""
        return self.compression_ratio > MAX_COMPRESSION_RATIO

    @property
    def is_improbable(self) -> bool:
        """Whether the network gives the text a low probability."""
        return self.mean_log_probability < MIN_LOG_PROBABILITY

    @property
    def is_silence(self) -> bool:
        """Whether the text stands for silence."""
        return self.no_speech_probability > MAX_NO_SPEECH_PROBABILITY and self.is_improbable

    @property
    def is_acceptable(self) -> bool:
        """Whether no fallback is needed."""
        return self.is_silence or not (self.is_repetitive or self.is_improbable)


class Decoder:
    """The decoder of one set of weights; safe to use from several threads.

    Args:
        engine: The network.
        tokenizer: A tokenizer of any language, for the suppressed tokens.
        beam_size: The beam size at temperature 0.
    """

    def __init__(self, engine: ctranslate2.models.Whisper, tokenizer: Tokenizer, beam_size: int) -> None:
        self._engine = engine
        self._tokenizer = tokenizer
        self._beam_size = beam_size
        self._suppressed = list(get_suppressed_tokens(tokenizer, [-1]))

    def decode(
        self,
        encoded: NDArray[Any],
        prompts: Sequence[list[int]],
        temperatures: Sequence[float],
        most: int,
        cancellation: CancellationToken,
    ) -> list[Draft]:
        """Decode the text of every window.

        Args:
            encoded: (windows, positions, width), the encoder output.
            prompts: The prompt tokens of each window.
            temperatures: The temperatures to try in order until a text is acceptable.
            most: The largest number of tokens of a text.
            cancellation: Checked before every attempt.

        Raises:
            Cancelled, DeadlineExceeded: The token was cancelled.
        """
        drafts: list[list[Draft]] = [[] for _ in prompts]
        pending = list(range(len(prompts)))
        shapes = [(prompt.index(self._tokenizer.sot), len(prompt)) for prompt in prompts]
        for temperature in temperatures:
            for _, same in groupby(sorted(pending, key=shapes.__getitem__), shapes.__getitem__):  # as the engine wants
                rows = list(same)
                cancellation.raise_if_cancelled()
                followed = [prompts[row] for row in rows]
                some = self._generate(rows_of(encoded, rows), followed, temperature, most)
                for row, draft in zip(rows, some, strict=True):
                    drafts[row].append(draft)
            pending = [row for row in pending if not drafts[row][-1].is_acceptable]
            if not pending:
                break
        return [_best(some) for some in drafts]

    def _generate(self, encoded: NDArray[Any], prompts: list[list[int]], temperature: float, most: int) -> list[Draft]:
        how = (
            {"beam_size": 1, "num_hypotheses": SAMPLES, "sampling_topk": 0, "sampling_temperature": temperature}
            if temperature
            else {"beam_size": self._beam_size}
        )
        results = self._engine.generate(
            get_ctranslate2_storage(encoded),
            prompts,
            max_length=min(max(2 * most, len(prompts[0]) + most), MAX_TOKENS),  # of which a text gets half at most
            max_initial_timestamp_index=LATEST_START,
            suppress_blank=False,  # a text may end where its prefix does; where there are times, one comes first anyway
            suppress_tokens=self._suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            **how,
        )
        return [self._draft(result, temperature) for result in results]

    def _draft(self, result: Any, temperature: float) -> Draft:
        tokens = list(result.sequences_ids[0])
        return Draft(
            tokens=tokens,
            mean_log_probability=result.scores[0]
            * len(tokens)
            / (len(tokens) + 1),  # a score is the mean without the end
            no_speech_probability=result.no_speech_prob,
            compression_ratio=get_compression_ratio(self._tokenizer.decode(tokens).strip()),
            temperature=temperature,
        )


def rows_of(encoded: NDArray[Any], rows: Sequence[int]) -> NDArray[Any]:
    """The rows of a batch; the batch itself where these are all of its rows."""
    return encoded if list(rows) == list(range(len(encoded))) else np.ascontiguousarray(encoded[list(rows)])


def _best(drafts: list[Draft]) -> Draft:
    """The last draft if it is acceptable, otherwise the most probable of those that are not repetitive."""
    if drafts[-1].is_acceptable:
        return drafts[-1]
    return max(
        [draft for draft in drafts if not draft.is_repetitive] or drafts, key=lambda draft: draft.mean_log_probability
    )
