"""A conversation with media as one that a text model reads: data first, delimited, and the question last."""

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from polyphony.generation.v1.generation_pb2 import TextMessage, TextPart

Kind = Literal["image", "recording"]
Role = Literal["system", "user", "assistant"]

_ROLES = {"system": TextMessage.ROLE_SYSTEM, "user": TextMessage.ROLE_USER, "assistant": TextMessage.ROLE_ASSISTANT}


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """What became of an image or a recording.

    Attributes:
        text: What it says; empty where nothing was found, None where that is not known.
    """

    kind: Kind
    text: str | None


@dataclass(frozen=True, slots=True)
class ResolvedMessage:
    """One turn, its media replaced by what they say."""

    role: Role
    parts: Sequence[str | ExtractedText]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that the answer may draw on, with its number in the prompt."""

    number: int
    filename: str
    text: str


@dataclass(frozen=True, slots=True)
class Budgets:
    """How many tokens of one image, recording or passage enter the prompt."""

    image: int
    recording: int
    passage: int


class PromptTemplate:
    """One versioned template of `gateway/prompts`.

    Args:
        name: Its file, such as `chat-1`.
        budgets: What each piece of data may take.
    """

    def __init__(self, name: str, budgets: Budgets) -> None:
        self._texts: dict[str, str] = tomllib.loads(files("gateway").joinpath("prompts", f"{name}.toml").read_text())
        self._budgets = budgets
        self.version = self._texts["version"]

    def render(self, turns: Sequence[ResolvedMessage], passages: Sequence[Passage] | None) -> list[TextMessage]:
        """The prompt.

        Args:
            turns: The conversation, oldest turn first; the last is the person's.
            passages: What the search found; None where nothing was searched.
        """
        data = [part.text or "" for turn in turns for part in turn.parts if isinstance(part, ExtractedText)]
        data += [text for passage in passages or () for text in (passage.text, passage.filename)]
        nonce = _nonce(data)
        said = [(turn.role, self._parts(turn, nonce, passages if turn is turns[-1] else None)) for turn in turns]
        if data or passages is not None:
            cite = self._texts["cite"] if passages else ""
            rules = TextPart(text=self._texts["rules"].lstrip() + cite + self._texts["fence"].format(nonce=nonce))
            own = said.pop(0)[1] if said[0][0] == "system" else []
            said.insert(0, ("system", [rules, *own]))
        return [TextMessage(role=_ROLES[role], parts=parts) for role, parts in said if parts]

    def _parts(self, turn: ResolvedMessage, nonce: str, passages: Sequence[Passage] | None) -> list[TextPart]:
        """Sources, then what the media say, then what the person says, aloud if not in writing."""
        words = [TextPart(text=part) for part in turn.parts if isinstance(part, str) and part]
        media = [part for part in turn.parts if isinstance(part, ExtractedText)]
        if not words:
            spoken = [part for part in media if part.kind == "recording" and part.text]
            words = [self._budgeted(part) for part in spoken]
            media = [part for part in media if part not in spoken]
        before: list[TextPart] = []
        for passage in passages or ():
            filename = " ".join(passage.filename.split())[:80]
            lead = self._texts["source"].format(number=passage.number, filename=filename)
            before += self._block(lead, passage.text, self._budgets.passage, nonce)
        if passages is not None and not passages:
            before.append(TextPart(text=self._texts["no_sources"]))
        for part in media:
            before += self._medium(part, nonce)
        if not before:
            return words
        if not words:
            words = [TextPart(text=self._texts["no_question"])]
        return [*before, TextPart(text=self._texts["question"]), *words] if turn.role == "user" else [*before, *words]

    def _medium(self, part: ExtractedText, nonce: str) -> list[TextPart]:
        if part.text:
            budget = self._budgets.image if part.kind == "image" else self._budgets.recording
            return self._block(self._texts[part.kind], part.text, budget, nonce)
        nothing = "no_text" if part.kind == "image" else "no_words"
        return [TextPart(text=self._texts[f"failed_{part.kind}" if part.text is None else nothing])]

    def _budgeted(self, part: ExtractedText) -> TextPart:
        return TextPart(text=part.text or "", max_tokens=self._budgets.recording)

    def _block(self, lead: str, text: str, max_tokens: int, nonce: str) -> list[TextPart]:
        opening, closing = (self._texts[key].format(nonce=nonce) for key in ("open", "close"))
        return [TextPart(text=lead + opening), TextPart(text=text, max_tokens=max_tokens), TextPart(text=closing)]


def _nonce(data: Sequence[str]) -> str:
    """A word that occurs in none of the data. The same data have the same one, so that a seed keeps its meaning."""
    digest = hashlib.sha256("\0".join(data).encode())
    while any(digest.hexdigest()[:6] in text for text in data):
        digest.update(b"again")
    return digest.hexdigest()[:6]
