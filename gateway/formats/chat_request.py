"""A chat completion request in OpenAI's wire format as the contract's `ChatRequest`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
from polyphony.gateway.v1.gateway_pb2 import ChatRequest, FileSearch, SpokenAnswer
from polyphony.type.v1.chat_pb2 import ChatMessage
from polyphony.type.v1.media_pb2 import Media
from polyphony.type.v1.text_format_pb2 import JsonObject, TextFormat

from gateway.media.resolver import FILE_PREFIX, InlineSource, MediaSource, decode_base64, parse_media_source
from gateway.schemas import chat as schema
from gateway.schemas.media_text import MediaText
from gateway.schemas.speech import MIME_TYPES
from servekit.errors import InvalidArgument

# The wire format's names for the fields of a `ChatRequest`, as for `rename_fields`.
FIELD_NAMES = {
    "messages.parts": "messages[].content[]",
    "messages.parts.image": "messages[].content[].image_url.url",
    "messages.parts.audio": "messages[].content[].input_audio.data",
    "format": "response_format",
    "file_search": "tools[0]",
    "file_search.vector_store_ids": "tools[0].vector_store_ids",
    "spoken": "audio",
    "spoken.voice": "audio.voice",
    "spoken.mime_type": "audio.format",
}
_ROLES = {
    schema.SystemMessage: ChatMessage.ROLE_SYSTEM,
    schema.DeveloperMessage: ChatMessage.ROLE_SYSTEM,
    schema.UserMessage: ChatMessage.ROLE_USER,
    schema.AssistantMessage: ChatMessage.ROLE_ASSISTANT,
}


Resolve = Callable[[InlineSource, Literal["image", "audio"], str], Awaitable[Media]]


async def parse_request(body: schema.ChatRequest, resolve: Resolve | None = None) -> ChatRequest:
    """Convert a request.

    Args:
        body: The request.
        resolve: Called with a medium that was decoded while the body arrived, its kind and its field; None where there
            is no such medium.

    Raises:
        InvalidArgument: The request asks for a feature that is not supported, or the source of a medium is invalid.
    """
    _refuse_unsupported(body)
    audio = body.audio or schema.AudioOptions()
    request = ChatRequest(
        model=body.model,
        max_tokens=body.max_completion_tokens or body.max_tokens or 0,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop,
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        format=_format(body),
        file_search=None if body.tool_choice == "none" else _file_search(body),
        spoken=SpokenAnswer(voice=audio.voice, mime_type=MIME_TYPES[audio.format]) if _wants_audio(body) else None,
    )
    for index, message in enumerate(body.messages):
        # Filled in place: to assign a message copies the bytes of its media.
        await _add_parts(message, request.messages.add(role=_ROLES[type(message)]), f"messages[{index}]", resolve)
    return request


def _refuse_unsupported(body: schema.ChatRequest) -> None:
    """Refuse, by name, the features of OpenAI's interface that are not supported."""
    refused = {
        "n": body.n not in (None, 1),
        "logprobs": bool(body.logprobs),
        "presence_penalty": bool(body.presence_penalty),
        "frequency_penalty": bool(body.frequency_penalty),
        "tools": any(not isinstance(tool, schema.FileSearchTool) for tool in body.tools or ()),
    }
    for name, unsupported in refused.items():
        if unsupported:
            reason = "only tools of type file_search are supported" if name == "tools" else "this is not supported"
            raise InvalidArgument(f"{name}: {reason}", field=name)
    if len(body.tools or ()) > 1:
        raise InvalidArgument("all vector stores must be in one file_search tool", field="tools[1]")


async def _add_parts(message: schema.Message, to: ChatMessage, field: str, resolve: Resolve | None) -> None:
    if isinstance(message.content, str):
        if message.content:
            to.parts.add(text=message.content)
        return
    for index, part in enumerate(message.content or ()):
        part_field = f"{field}.content[{index}]"
        match part:
            case schema.TextContent():
                to.parts.add(text=part.text)
            case schema.RefusalContent():
                to.parts.add(text=part.refusal)
            case schema.ImageContent():
                image = _Source("image", part.image_url.url, f"{part_field}.image_url.url")
                await image.set(to.parts.add().image, resolve)
            case schema.AudioContent():
                audio = part.input_audio
                recording = _Source("audio", audio.data, f"{part_field}.input_audio.data", f"audio/{audio.format}")
                await recording.set(to.parts.add().audio, resolve)


@dataclass(frozen=True, slots=True)
class _Source:
    """The source of a medium; plain base64 where its media type is given."""

    kind: Literal["image", "audio"]
    source: MediaText
    field: str
    mime_type: str = ""

    async def set(self, media: Media, resolve: Resolve | None) -> None:
        """Set a medium to a data URL, an http(s) URL, a file id or plain base64."""
        parsed = self._parse()
        if not isinstance(parsed, InlineSource):
            media.uri = self.source.text
        elif len(parsed.pieces) > 1 and resolve:
            media.CopyFrom(await resolve(parsed, self.kind, self.field))
            await asyncio.sleep(0)  # many media of megabytes would stop the event loop
        else:
            media.inline, media.mime_type = parsed.data, parsed.mime_type

    def _parse(self) -> MediaSource:
        text = self.source.text
        is_base64 = self.mime_type and not text.startswith(("data:", "http://", "https://", FILE_PREFIX))
        if is_base64:
            return decode_base64(self.source, self.mime_type, self.field)
        return parse_media_source(self.source, self.field)


def _format(body: schema.ChatRequest) -> TextFormat | None:
    match body.response_format:
        case schema.JsonForm():
            return TextFormat(json_object=JsonObject())
        case schema.SchemaForm(json_schema=json_schema):
            return TextFormat(json_schema=msgspec.json.encode(json_schema.schema).decode())
    return None


def _file_search(body: schema.ChatRequest) -> FileSearch | None:
    for tool in body.tools or ():
        if isinstance(tool, schema.FileSearchTool):
            return FileSearch(vector_store_ids=tool.vector_store_ids, max_results=tool.max_num_results or 0)
    return None


def _wants_audio(body: schema.ChatRequest) -> bool:
    return "audio" in (body.modalities or ())
