"""One trace, from the HTTP request to every engine that worked for it, and to the latencies that name it."""

import base64
import time

import httpx

from tests.integration.conftest import picture

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_one_trace_holds_the_request_its_hops_and_their_engines(http, spans, fleet):
    image = f"data:image/png;base64,{base64.b64encode(picture(77)).decode()}"
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "text", "text": "Why?"}]
    answer = http.post(
        "/v1/chat/completions",
        json={"messages": [{"role": "user", "content": content}]},
        headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
    )
    assert answer.status_code == 200
    wanted = {
        ("polyphony-gateway", "POST /v1/chat/completions"),
        ("polyphony-vision", "VisionService/ReadText"),
        ("polyphony-vision", "queue"),
        ("polyphony-vision", "engine"),
        ("polyphony-generation", "GenerationService/GenerateText"),
        ("polyphony-generation", "engine"),
    }
    end = time.monotonic() + 60
    while time.monotonic() < end:
        mine = {(process, span.name): span for process, span in list(spans.received) if span.trace_id.hex() == TRACE}
        if wanted <= mine.keys():
            break
        time.sleep(0.2)
    assert wanted <= mine.keys()
    request, hop = (
        mine["polyphony-gateway", "POST /v1/chat/completions"],
        mine["polyphony-vision", "VisionService/ReadText"],
    )
    assert request.parent_span_id.hex() == "00f067aa0ba902b7"
    assert mine["polyphony-vision", "engine"].parent_span_id == hop.span_id
    assert (
        request.start_time_unix_nano <= hop.start_time_unix_nano <= hop.end_time_unix_nano <= request.end_time_unix_nano
    )
    steps = [(event.name, {row.key: row.value.string_value for row in event.attributes}) for event in request.events]
    assert [(name, about["outcome"]) for name, about in steps] == [("read_text", "ok"), ("generate_text", "ok")]
    listing = fleet.status()
    exemplar = f'# {{trace_id="{TRACE}"}}'
    for process, metric in (
        ("gateway", "polyphony_request_duration_seconds_bucket"),
        ("gateway", "polyphony_pipeline_step_duration_seconds_bucket"),
        ("vision", "polyphony_request_duration_seconds_bucket"),
        ("vision", "polyphony_queue_duration_seconds_bucket"),
        ("vision", "polyphony_inference_duration_seconds_bucket"),
    ):
        url = f"http://{listing[process]['metrics']}/metrics"
        text = httpx.get(url, headers={"accept": "application/openmetrics-text"}).text
        assert any(line.startswith(metric) and exemplar in line for line in text.splitlines()), (process, metric)
