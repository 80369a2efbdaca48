"""Base64 in pieces: the same bytes, and the same refusals, as decoded at once."""

import base64
import binascii

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.media.base64_decoder import Base64Decoder

SIZES = st.lists(st.integers(1, 9), min_size=1)


def decoded(text, sizes):
    """The decoder, fed with pieces of these sizes again and again."""
    decoder, start, turn = Base64Decoder(), 0, 0
    while start < len(text):
        end = start + sizes[turn % len(sizes)]
        decoder.feed(text[start:end])
        start, turn = end, turn + 1
    decoder.finish()
    return decoder


@given(st.binary(), SIZES, st.booleans())
def test_the_decoded_pieces_are_the_original_bytes(data, sizes, escaped):
    text = base64.b64encode(data)
    decoder = decoded(text.replace(b"/", b"\\/") if escaped else text, sizes)
    assert (b"".join(decoder.pieces), decoder.error) == (data, "")


@given(st.text("AB/+=\n-\\", max_size=24).map(str.encode), SIZES)
@example(b"QQ==QUFB", [4])
@example(b"QUFBQQ==", [3])
@example(b"QUFBQQ=", [4])
@example(b"AAAA=", [4])  # which some versions of Python decode
def test_text_that_is_invalid_as_a_whole_is_invalid_in_pieces(text, sizes):
    decoder = decoded(text, sizes)
    if decoder.error:
        assert not decoder.pieces
    else:
        whole = binascii.a2b_base64(text.replace(b"\\/", b"/"), strict_mode=True)
        assert b"".join(decoder.pieces) == whole
