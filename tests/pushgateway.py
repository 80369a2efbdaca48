"""A real Prometheus Pushgateway: what was pushed to it, read back."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

# Debian's name, and its own.
PUSHGATEWAY = shutil.which("prometheus-pushgateway") or shutil.which("pushgateway")


@contextmanager
def pushgateway() -> Iterator[str]:
    """Its address, for as long as the context lasts. Skips the test where there is none."""
    if PUSHGATEWAY is None:
        pytest.skip("absent: apt-get install prometheus-pushgateway")
    command = [PUSHGATEWAY, "--web.listen-address=127.0.0.1:0", "--persistence.file="]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(found[1] for line in process.stderr if (found := re.search(r"address=(\S+:[1-9]\d*)", line)))
        finally:
            process.terminate()


def gauges(address: str) -> dict[tuple[str, str, str], float]:
    """What the canary pushed, by name, task and metric."""
    families = text_string_to_metric_families(httpx.get(f"http://{address}/metrics").text)
    return {
        (sample.name, sample.labels.get("task", ""), sample.labels.get("metric", "")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("job") == "canary"
    }
