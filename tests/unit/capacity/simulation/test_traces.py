import numpy as np
import pytest

from capacity.errors import CapacityError
from capacity.simulation.traces import SHAPES, trace


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_seed_gives_the_same_calls_and_another_seed_others(name):
    first, again = (trace(name, 5.0, 0.5, 3).arrivals(3) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, trace(name, 5.0, 0.5, 4).arrivals(4))


@pytest.mark.parametrize("name", SHAPES)
def test_calls_come_in_order_and_at_the_rate_that_is_said(name):
    load = trace(name, 20.0, 1.0, 1)
    arrivals = load.arrivals(1)
    assert (np.diff(arrivals) >= 0).all()
    assert 0 <= arrivals[0] < arrivals[-1] < load.seconds == 3600
    assert len(arrivals) == pytest.approx(load.rates.sum(), rel=0.02)


def test_shapes_are_what_they_are_called():
    rates = {name: trace(name, 1.0, 2.0, 1).rates for name in SHAPES}
    assert rates["steady"].min() == rates["steady"].max() == 1
    assert rates["diurnal"].argmax() == pytest.approx(3600, abs=1200)
    assert rates["diurnal"].min() < 0.4 < 1.5 < rates["diurnal"].max()
    assert 2 <= rates["burst"].max() <= 4
    assert np.median(rates["burst"]) == 1
    crowd = rates["flash-crowd"]
    assert crowd[2300:2400].max() < 1.3
    assert crowd[2400:2520].max() > 6.5
    assert crowd[-1] < 2


def test_a_file_holds_each_rate_until_the_next_row(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("seconds,rate\n10,2\n13,0\n15,9\n")
    assert trace(str(file), 1.0, 1.0, 0).rates.tolist() == [2, 2, 2, 0, 0]


@pytest.mark.parametrize(
    "text",
    ["", "time,rate\n0,1\n9,1\n", "seconds,rate\n0,1\n", "seconds,rate\n5,1\n5,1\n", "seconds,rate\n0,-1\n5,1\n",
     "seconds,rate\n0,one\n5,1\n", "seconds,rate\n0,nan\n5,1\n", "seconds,rate\n0\n5,1\n",
     "seconds,rate\n0,1\n1e300,1\n", "seconds,rate\n0,1e308\n9,1e308\n"],
)  # fmt: skip
def test_a_file_that_is_no_trace_is_refused(tmp_path, text):
    file = tmp_path / "bad.csv"
    file.write_text(text)
    with pytest.raises(CapacityError, match=r"bad\.csv must have"):
        trace(str(file), 1.0, 1.0, 0)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CapacityError, match="unknown trace 'wave'; known traces: steady"):
        trace("wave", 1.0, 1.0, 0)
    with pytest.raises(CapacityError, match="cannot be read: No such file"):
        trace(str(tmp_path / "none.csv"), 1.0, 1.0, 0)
