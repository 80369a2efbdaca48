"""Which conversations a model takes."""

import pytest
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media

from servekit.chat.message import check_messages
from servekit.errors import InvalidArgument

USER = ChatMessage.ROLE_USER
TEXT = ContentPart(text="")
PICTURE = Media(inline=b"a picture")


def message(*parts, role=USER):
    return ChatMessage(role=role, parts=parts)


def test_every_kind_of_part_passes_that_the_model_takes():
    parts = [ContentPart(text="a", max_tokens=3), ContentPart(image=PICTURE), ContentPart(audio=Media(reference="x"))]
    check_messages([message(*parts)], ("text", "image", "audio"), "m")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (message(TEXT, role=9), "messages[1].role"),
        (message(TEXT, role=ChatMessage.ROLE_UNSPECIFIED), "messages[1].role"),
        (message(TEXT, ContentPart()), "messages[1].parts[1]"),
        (message(ContentPart(text="a", max_tokens=-1)), "messages[1].parts[0].max_tokens"),
        (message(ContentPart(image=PICTURE, max_tokens=1)), "messages[1].parts[0].max_tokens"),
        (message(ContentPart(image=Media(mime_type="image/png"))), "messages[1].parts[0].image"),
        (message(TEXT, TEXT, ContentPart(audio=PICTURE)), "messages[1].parts[2].audio"),
        (message(TEXT, ContentPart(video=PICTURE)), "messages[1].parts[1].video"),
    ],
)
def test_an_invalid_message_is_refused_by_name(bad, field):
    with pytest.raises(InvalidArgument) as refused:
        check_messages([message(TEXT), bad], ("text", "image"), "m")
    assert refused.value.field == field


def test_a_refused_medium_is_named_with_the_model_and_what_it_takes():
    with pytest.raises(InvalidArgument, match="tiny takes no image parts, only text"):
        check_messages([message(ContentPart(image=PICTURE))], ("text",), "tiny")
