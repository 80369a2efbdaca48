import pytest

from gateway.field_names import rename_fields
from servekit.errors import InvalidArgument, TooLarge

NAMES = {"audio": "file", "clips": "files[]", "clips.label": "labels[]", "messages": "messages"}


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("audio", "file"),
        ("audio.reference", "file"),
        ("audio_format", "audio_format"),
        ("clips", "files"),
        ("clips[3].audio", "files[3]"),
        ("clips[3].label", "labels[3]"),
        ("messages[2].text", "messages"),
        ("voice", "voice"),
        ("", ""),
    ],
)
def test_a_field_has_the_name_that_the_caller_gave_it(field, told):
    with pytest.raises(InvalidArgument) as caught, rename_fields(**NAMES):
        raise TooLarge("too long", field=field, retry_after=1.0)
    assert (caught.value.field, caught.value.message, caught.value.retry_after) == (told, "too long", 1.0)


def test_without_an_error_nothing_is_renamed():
    with rename_fields(audio="file"):
        done = True
    assert done
