"""Several texts tokenised as one."""

from hypothesis import given
from hypothesis import strategies as st

from servekit.chat.tokenizer import split

SEPARATOR = -1


@given(st.lists(st.lists(st.integers(0, 9))))
def test_each_text_gets_its_own_tokens(texts):
    assert split([token for text in texts for token in [SEPARATOR, *text]], SEPARATOR) == texts
