"""What happens when things go wrong under real models: callers that leave, processes that die."""

import io
import os
import signal

import httpx
import pytest
from openai import InternalServerError
from PIL import Image

from tests.e2e.test_openai import data_url
from tests.watching import eventually, in_flight


@pytest.mark.serial
def test_a_client_that_leaves_stops_the_engine(fleet, client):
    metrics = fleet.address("generation", "metrics")
    endless = [{"role": "user", "content": "Count from one to one thousand, each number in words."}]
    stream = client.chat.completions.create(
        model="", messages=endless, max_tokens=2000, temperature=0, stream=True
    )  # drawn by chance, an answer may be a short one
    for _, _chunk in zip(range(3), stream, strict=False):
        pass
    assert in_flight(metrics) == 1
    stream.close()
    eventually(lambda: in_flight(metrics) == 0, 5)  # writing it whole takes longer


@pytest.mark.serial
def test_a_long_prompt_does_not_outlive_its_caller(fleet, client):
    metrics = fleet.address("generation", "metrics")
    long = [{"role": "user", "content": "Summarise: " + "The committee met on Tuesday and adjourned. " * 200}]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{client.base_url}chat/completions", json={"messages": long, "max_tokens": 5}, timeout=1.0)
    eventually(lambda: in_flight(metrics) == 0, 5)  # reading it whole takes longer
    client.chat.completions.create(model="", messages=[{"role": "user", "content": "Say hi."}], max_tokens=5)


def test_a_killed_service_is_reported_unavailable_and_restarted(fleet, client, page):
    read = f"{client.base_url}vision/read"

    def post():
        return httpx.post(read, content=page, headers={"content-type": "image/png"}, timeout=60)

    assert post().status_code == 200
    os.kill(fleet.status()["vision"]["pid"], signal.SIGKILL)
    refused = post()
    assert refused.status_code == 503
    assert float(refused.headers["retry-after"]) > 0
    assert refused.json()["error"]["message"]
    eventually(lambda: post().status_code == 200)
    assert fleet.status()["vision"]["restarts"] >= 1
    assert "vision" in fleet.run("logs", "supervisor")


def test_a_failed_branch_is_reported_as_degraded(fleet, client):
    unseen = io.BytesIO()  # a picture that was read before would come from the cache
    Image.effect_noise((200, 100), 50).save(unseen, "PNG")
    os.kill(fleet.status()["vision"]["pid"], signal.SIGKILL)
    content = [
        {"type": "text", "text": "Say hello."},
        {"type": "image_url", "image_url": {"url": data_url(unseen.getvalue())}},
    ]
    try:
        answer = client.chat.completions.create(
            model="", messages=[{"role": "user", "content": content}], max_tokens=20, temperature=0
        )
    except InternalServerError as error:
        pytest.fail(f"the whole answer was refused: {error}")
    about = answer.model_extra["polyphony"]
    assert [name.split("[")[0] for name in about["degraded"]] == ["read_text"]
    assert answer.choices[0].message.content
    ready = str(client.base_url).replace("/v1/", "/readyz")
    eventually(lambda: httpx.get(ready).json()["status"] == "ready")
