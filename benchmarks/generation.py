"""Time to the first token of a chat: through the gateway, and from llama.cpp called directly, in turn."""

import time
from statistics import median

from benchmarks.llama_direct import MAX_TOKENS
from benchmarks.report import BenchmarkResult, Progress, percentile
from benchmarks.running import fleet, line_worker, models_dir
from client.blocking import BlockingConnection
from servekit.models import catalogue
from servekit.ops.settings import available_cores

ROUNDS = 24
WARM_ROUNDS = 3
SLOTS, PREFILL_TOKENS = 4, 64  # as the generation service has them
SUBJECTS = ("rivers", "bread", "clocks", "bridges", "snow", "maps", "salt", "kites")


def measure(progress: Progress) -> BenchmarkResult:
    """Measure with prompts that are all different, so that no prompt is cached."""
    share = catalogue.profile("embedded").services["generation"]
    spec = catalogue.model(share.models[0])
    weights = spec.folder(models_dir()) / spec.files[0].path
    threads = max(1, round(share.cores * available_cores()))
    window = int(spec.limits["window_tokens"])
    progress("starting the embedded fleet and a llama.cpp of its own")
    with (
        fleet("embedded") as running,
        line_worker("benchmarks.llama_direct", weights, *map(str, (SLOTS, threads, PREFILL_TOKENS, window))) as llama,
        BlockingConnection(running.address("gateway")) as web,
    ):
        if llama.stdin is None or llama.stdout is None:
            raise RuntimeError("llama.cpp has no pipes")
        direct, gateway = [], []
        for number in range(-WARM_ROUNDS, ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            subject = SUBJECTS[number % len(SUBJECTS)]
            prompt = f"Fact {number + 500}: what would you tell a curious child about {subject}, in one sentence?"
            llama.stdin.write(prompt + "\n")
            alone = float(llama.stdout.readline())
            through = _first_token(web, prompt)
            if number >= 0:
                direct.append(alone)
                gateway.append(through)
    added = [(one - base) * 1e3 for one, base in zip(gateway, direct, strict=True)]
    rows = {
        name: {"p50 ms": median(taken) * 1e3, "p95 ms": percentile(taken, 0.95) * 1e3}
        for name, taken in (("llama.cpp directly", direct), ("gateway, SSE", gateway))
    }
    rows["gateway, SSE"] |= {
        "added p50 ms": median(added),
        "over direct": median(gateway) / median(direct),
    }
    return BenchmarkResult("First token of a text chat, one caller", rows)


def _first_token(web: BlockingConnection, prompt: str) -> float:
    body = {
        "model": "qwen2.5-coder-0.5b-instruct",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": MAX_TOKENS,
        "temperature": 0.0,
        "stream": True,
    }
    began = time.perf_counter()
    seconds = 0.0
    for event in web.events("POST", "/v1/chat/completions", json=body):
        if not seconds and any(choice["delta"].get("content") for choice in event.get("choices", ())):
            seconds = time.perf_counter() - began
    if not seconds:
        raise RuntimeError("no token came")
    return seconds
