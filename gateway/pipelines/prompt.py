"""The prompt of a chat: media replaced by their texts, data first and delimited, the question last."""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart

from gateway.schemas.report import Source

PartIndex = tuple[int, int]  # of a message in the conversation, and of a part in the message, from 0


@dataclass(frozen=True, slots=True)
class ExtractedText:
    """The text of an image or a recording.

    Attributes:
        kind: The kind of the medium.
        text: The text; empty where the medium has none, None where extraction failed.
    """

    kind: Literal["image", "audio"]
    text: str | None


@dataclass(frozen=True, slots=True)
class TokenBudgets:
    """The most tokens of one image's text, one transcript and one passage that enter the prompt."""

    image: int
    audio: int
    passage: int


class PromptTemplate:
    """One versioned template of `gateway/prompts`.

    Args:
        name: The name of its file without the extension, such as `chat-1`.
        budgets: The most tokens of each piece of data.
    """

    def __init__(self, name: str, budgets: TokenBudgets) -> None:
        self._texts: dict[str, str] = tomllib.loads(files("gateway").joinpath("prompts", f"{name}.toml").read_text())
        self._budgets = budgets
        self.version = self._texts["version"]

    def render(
        self,
        messages: Sequence[ChatMessage],
        extracted: Mapping[PartIndex, ExtractedText],
        sources: Sequence[Source] | None,
    ) -> list[ChatMessage]:
        """The conversation as messages of text alone.

        Args:
            messages: The conversation, oldest message first; the last is the user's.
            extracted: The text of each media part.
            sources: The passages found; None where nothing was searched.
        """
        data = [extracted[index].text or "" for index in sorted(extracted)]
        data += [text for source in sources or () for text in (source.text, source.filename)]
        nonce = _nonce(data)
        rendered = []
        for index, message in enumerate(messages):
            parts = [extracted.get((index, part_index), part) for part_index, part in enumerate(message.parts)]
            passages = sources if index == len(messages) - 1 else None
            is_user = message.role == ChatMessage.ROLE_USER
            rendered.append((message.role, self._parts(parts, passages, nonce, is_user=is_user)))
        if data or sources is not None:
            cite = self._texts["cite"] if sources else ""
            rules = ContentPart(text=self._texts["rules"].lstrip() + cite + self._texts["fence"].format(nonce=nonce))
            own = rendered.pop(0)[1] if rendered[0][0] == ChatMessage.ROLE_SYSTEM else []
            rendered.insert(0, (ChatMessage.ROLE_SYSTEM, [rules, *own]))
        return [ChatMessage(role=role, parts=parts) for role, parts in rendered if parts]

    def _parts(
        self,
        parts: Sequence[ContentPart | ExtractedText],
        sources: Sequence[Source] | None,
        nonce: str,
        *,
        is_user: bool,
    ) -> list[ContentPart]:
        """Sources, then the texts of media, then the question; transcripts are the question if nothing is written."""
        question = [part for part in parts if isinstance(part, ContentPart) and part.text]
        media = [part for part in parts if isinstance(part, ExtractedText)]
        if not question:
            spoken = [part for part in media if part.kind == "audio" and part.text]
            question = [ContentPart(text=part.text or "", max_tokens=self._budgets.audio) for part in spoken]
            media = [part for part in media if part not in spoken]
        data: list[ContentPart] = []
        for source in sources or ():
            filename = " ".join(source.filename.split())[:80]
            lead = self._texts["source"].format(number=source.number, filename=filename)
            data += self._block(lead, source.text, self._budgets.passage, nonce)
        if sources is not None and not sources:
            data.append(ContentPart(text=self._texts["no_sources"]))
        for part in media:
            data += self._medium(part, nonce)
        if not data:
            return question
        if not question:
            question = [ContentPart(text=self._texts["no_question"])]
        if is_user:
            data.append(ContentPart(text=self._texts["question"]))
        return [*data, *question]

    def _medium(self, part: ExtractedText, nonce: str) -> list[ContentPart]:
        if part.text:
            budget = self._budgets.image if part.kind == "image" else self._budgets.audio
            return self._block(self._texts[part.kind], part.text, budget, nonce)
        return [ContentPart(text=self._texts[f"{'failed' if part.text is None else 'empty'}_{part.kind}"])]

    def _block(self, lead: str, text: str, max_tokens: int, nonce: str) -> list[ContentPart]:
        opening, closing = (self._texts[key].format(nonce=nonce) for key in ("open", "close"))
        return [
            ContentPart(text=lead + opening),
            ContentPart(text=text, max_tokens=max_tokens),
            ContentPart(text=closing),
        ]


def _nonce(data: Sequence[str]) -> str:
    """Six characters that occur in none of the data; the same for the same data, so that a seed keeps its meaning."""
    digest = hashlib.sha256("\0".join(data).encode())
    while any(digest.hexdigest()[:6] in text for text in data):
        digest.update(b"again")
    return digest.hexdigest()[:6]
