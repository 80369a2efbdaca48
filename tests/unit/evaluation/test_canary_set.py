import io

import av
import pytest
from PIL import Image
from pydantic import ValidationError

from evaluation.canary_set import FOLDER, SearchItem, SearchSet, read
from evaluation.metrics import says

CANARY = read()
MEDIA = (*CANARY.transcribe, *CANARY.read_text)
KILOBYTE = 1000


def test_media_are_small_and_all_of_them_are_named():
    sizes = {
        path.name: path.stat().st_size for path in FOLDER.iterdir() if path.suffix not in (".toml", ".py", ".json")
    }
    assert sizes.keys() == {medium.file for medium in MEDIA}
    assert max(sizes.values()) < 200 * KILOBYTE
    assert sum(sizes.values()) < 600 * KILOBYTE


def test_media_may_be_passed_on():
    assert {medium.licence for medium in MEDIA} <= {"public domain", "Apache-2.0", "BSD-3-Clause"}


@pytest.mark.parametrize("medium", MEDIA, ids=lambda medium: medium.file)
def test_media_can_be_decoded(medium):
    data = (FOLDER / medium.file).read_bytes()
    if medium in CANARY.read_text:
        Image.open(io.BytesIO(data)).load()
    else:
        with av.open(io.BytesIO(data)) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) > 48_000


def test_who_only_repeats_the_question_is_wrong():
    for question in CANARY.chat:
        assert not any(says(question.question, text) for text in question.any_of)
        assert any(says(question.context, text) for text in question.any_of)


def test_a_query_for_a_passage_that_is_not_there_is_refused():
    with pytest.raises(ValidationError, match="no passage is named b"):
        SearchSet(k=3, passages={"a": "text"}, queries=(SearchItem(question="?", passage="b"),))
