"""Languages by their names."""

from faster_whisper.tokenizer import _LANGUAGE_CODES

from gateway.formats.languages import NAMES, name_of


def test_every_language_of_whisper_has_a_name():
    assert set(NAMES) == set(_LANGUAGE_CODES)
    assert (name_of("en"), name_of("ht"), name_of("yue")) == ("english", "haitian creole", "cantonese")


def test_another_is_its_code():
    assert (name_of("tlh"), name_of("")) == ("tlh", "")
