import math

import pytest

from servekit.errors import InvalidArgument
from servekit.rpc.bounds import check_name, within


@pytest.mark.parametrize("value", [0.25, 1, 4.0])
def test_what_is_within_its_bounds_is_given_back(value):
    assert within(value, 0.25, 4, "speed") == value


@pytest.mark.parametrize("value", [0.2, 5, -1, math.nan, math.inf, -math.inf])
def test_what_is_not_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"speed must be in \[0\.25, 4\], got") as caught:
        within(value, 0.25, 4, "speed")
    assert caught.value.field == "speed"


@pytest.mark.parametrize("name", ["a", "0", "My-voice_2", "x" * 64])
def test_a_name_is_given_back(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "_a", "a b", "a/b", "ä", "x" * 65, "a\n"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(InvalidArgument, match="collection must be 1 to 64 letters") as caught:
        check_name(name, "collection")
    assert caught.value.field == "collection"
