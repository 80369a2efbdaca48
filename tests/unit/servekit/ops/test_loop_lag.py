"""The lag of the event loop, and how much of it the process used the CPU."""

import asyncio
import time

import pytest

from servekit.ops.loop_lag import INTERVAL_SECONDS, LoopLag
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import LAGS, Telemetry
from servekit.rpc.server import ServiceSpec


@pytest.fixture
def telemetry(tmp_path):
    return Telemetry(ProcessSettings(home=tmp_path))


def late(telemetry, name, seconds):
    """The number of timers that were later than a bound of the histogram."""
    below, count = (
        telemetry.registry.get_sample_value(f"polyphony_event_loop_{name}_seconds_{part}", labels)
        for part, labels in (("bucket", {"le": str(seconds)}), ("count", {}))
    )
    return count - below


async def after_ticks(telemetry, number):
    """Wait for that many more measurements."""
    name = "polyphony_event_loop_lag_seconds_count"
    until = telemetry.registry.get_sample_value(name) + number
    async with asyncio.timeout(20):
        while telemetry.registry.get_sample_value(name) < until:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_callback_that_computes_is_lag_and_busy(telemetry):
    lag = LoopLag(telemetry)
    await after_ticks(telemetry, 1)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    await after_ticks(telemetry, 1)
    lag.stop()
    assert late(telemetry, "lag", 0.1) == late(telemetry, "busy", 0.1) == 1


async def test_a_process_that_waits_for_a_core_lags_and_is_not_busy(telemetry):
    """The clocks are those of a process that got no core for a second, while its timer ran as it should."""
    times, cpu = iter([0.0, INTERVAL_SECONDS + 1.0]), iter([7.0, 7.004])
    lag = LoopLag(telemetry, lambda: next(times, 9.0), lambda: next(cpu, 7.004))
    await after_ticks(telemetry, 1)
    lag.stop()
    assert late(telemetry, "lag", 0.5) == 1
    assert late(telemetry, "busy", 0.005) == 0


async def test_a_server_measures_its_loop_until_it_stops(serve, settings):
    built = []

    async def build(_, telemetry):
        built.append(telemetry)
        return ServiceSpec(object(), [])

    server = await serve(settings, build)
    await after_ticks(built[0], 2)
    await server.stop()
    count = built[0].registry.get_sample_value("polyphony_event_loop_lag_seconds_count")
    await asyncio.sleep(4 * INTERVAL_SECONDS)
    assert built[0].registry.get_sample_value("polyphony_event_loop_lag_seconds_count") == count


def test_the_alerts_threshold_is_a_bound_of_the_histogram():
    assert 0.1 in LAGS
