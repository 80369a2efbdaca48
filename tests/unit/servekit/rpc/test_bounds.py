import math

import pytest

from servekit.rpc.bounds import within
from servekit.rpc.errors import InvalidArgument


@pytest.mark.parametrize("value", [0.25, 1, 4.0])
def test_what_is_within_its_bounds_is_given_back(value):
    assert within(value, 0.25, 4, "speed") == value


@pytest.mark.parametrize("value", [0.2, 5, -1, math.nan, math.inf, -math.inf])
def test_what_is_not_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"speed is .*; it has to be between 0\.25 and 4") as caught:
        within(value, 0.25, 4, "speed")
    assert caught.value.field == "speed"
