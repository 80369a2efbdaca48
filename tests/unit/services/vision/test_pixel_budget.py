"""The bound on the pixels of several threads."""

import threading

from services.vision.read_text.models.pixel_budget import PixelBudget


def test_a_thread_waits_until_its_pixels_fit():
    budget, entered = PixelBudget(10), threading.Event()

    def hold():
        with budget.hold(6):
            entered.set()

    with budget.hold(4), budget.hold(1):
        other = threading.Thread(target=hold)
        other.start()
        assert not entered.wait(0.05)
    assert entered.wait(5)
    other.join()


def test_more_pixels_than_the_budget_are_held_alone():
    budget = PixelBudget(10)
    with budget.hold(100):
        pass
    with budget.hold(10):
        pass
