import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from gateway.pipelines.spoken_answer import MIN_CHARACTERS, SentenceBuffer


async def taken(pieces):
    """What is taken after each piece of a text that grows while nobody else runs, then the rest."""
    buffer, out = SentenceBuffer(), []
    for piece in pieces:
        buffer.append(piece)
        task = asyncio.ensure_future(buffer.take())
        await asyncio.sleep(0)
        if task.done():
            out.append(task.result())
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    buffer.end()
    while text := await buffer.take():
        out.append(text)
    return out


async def test_complete_sentences_are_taken_while_the_text_grows():
    assert await taken(["The total is 9.45 euros", ". It was", " paid in March. ", "Thanks"]) == [
        "The total is 9.45 euros.",
        "It was paid in March.",
        "Thanks",
    ]


async def test_full_width_marks_end_a_sentence_without_a_space():
    text = "今天的会议讨论了三个重要的问题和两个新的项目。下一次"
    assert await taken([text]) == [text[:-3], "下一次"]


async def test_a_short_beginning_waits_for_more():
    assert len("1. ") < MIN_CHARACTERS
    assert await taken(["1. ", "Open the red valve slowly. "]) == ["1. Open the red valve slowly."]


async def test_text_without_a_letter_is_never_taken():
    assert await taken(["*** ... --- ... *** ... !!! ", "\n\n"]) == []


@given(st.lists(st.text(alphabet="ab9 .!。\n", max_size=12), max_size=12))
def test_nothing_is_lost_and_nothing_said_twice(pieces):
    def letters(text):
        return "".join(character for character in text if character.isalnum())

    assert letters("".join(asyncio.run(taken(pieces)))) == letters("".join(pieces))


async def test_a_text_of_one_repeated_mark_is_searched_in_linear_time():
    began = time.process_time()
    assert await taken(["." * 20_000]) == []
    assert time.process_time() - began < 2  # a quadratic search takes far longer


async def test_a_text_without_sentence_ends_is_searched_in_linear_time():
    began = time.process_time()
    assert len(await taken(["word "] * 20_000)) == 1
    assert len(await taken(["*** !!! "] * 20_000)) == 0
    assert time.process_time() - began < 10  # a search of all text at each piece takes minutes
