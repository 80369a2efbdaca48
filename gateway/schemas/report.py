"""The report of how an answer was composed: its steps and its sources."""

from dataclasses import dataclass


@dataclass(slots=True)
class Step:
    """One step.

    Attributes:
        name: The task, with a number where there are several steps of it.
        model: The id of the model.
        start: The start, in seconds after the request.
        seconds: The duration in seconds.
        cached: Whether the result came from the cache.
        error: The error of a step that was left out; empty for one that succeeded.
    """

    name: str
    model: str
    start: float
    seconds: float = 0.0
    cached: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage of a document that was given to the model for its answer.

    Attributes:
        number: The number by which the answer cites the passage, from 1.
        store_id: The vector store that holds it.
        file_id: The file that it is from.
        filename: The name of that file.
        text: The passage.
        score: Its similarity to the question; higher is more similar.
    """

    number: int
    store_id: str
    file_id: str
    filename: str
    text: str
    score: float
