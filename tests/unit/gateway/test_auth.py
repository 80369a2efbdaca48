import hashlib

import httpx
import pytest

from gateway.app import build_app
from gateway.auth import Keys, TokenBucket, require_loopback
from servekit.context import current
from servekit.errors import RateLimited


@pytest.fixture
def keys_file(tmp_path):
    path = tmp_path / "keys.toml"
    digests = {key: hashlib.sha256(key.encode()).hexdigest() for key in ("anna-key", "bert-key")}
    path.write_text(
        f'[[keys]]\nsha256 = "{digests["anna-key"]}"\nowner = "anna"\nmodels = ["fake-embedder"]\n'
        f'[[keys]]\nsha256 = "{digests["bert-key"]}"\nowner = "bert"\nburst = 2\nrequests_per_minute = 60\n'
    )
    return path


@pytest.fixture
async def locked(build, keys_file):
    """A gateway with keys, for a caller who sends `key`."""
    app = build_app(build(keys_file=keys_file))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def bearer(key):
    return {"authorization": f"Bearer {key}"}


async def test_without_a_known_key_nothing_is_answered(locked):
    for headers in ({}, bearer("other"), {"authorization": "Basic anna-key"}):
        response = await locked.get("/v1/models", headers=headers)
        assert response.status_code == 401
        assert response.json()["error"]["type"] == "authentication_error"
    assert (await locked.get("/healthz")).status_code == 200
    assert (await locked.get("/metrics")).status_code == 401


async def test_a_key_names_the_tenant_and_its_models(locked, orders):
    response = await locked.post("/v1/embeddings", json={"input": "x"}, headers=bearer("anna-key"))
    assert response.status_code == 200
    assert orders.seen[-1][1] == "anna"
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    response = await locked.post("/v1/chat/completions", json=chat, headers=bearer("anna-key"))
    assert (response.status_code, response.json()["error"]["param"]) == (404, "model")
    listed = (await locked.get("/v1/models", headers=bearer("anna-key"))).json()["data"]
    assert {row["root"] for row in listed} == {"fake-embedder"}


async def test_one_tenant_does_not_see_anothers_files(locked):
    file = (await locked.post("/v1/files", files={"file": ("a", b"x")}, headers=bearer("anna-key"))).json()["id"]
    assert (await locked.get(f"/v1/files/{file}", headers=bearer("bert-key"))).status_code == 404
    assert (await locked.get(f"/v1/files/{file}", headers=bearer("anna-key"))).status_code == 200


async def test_an_exceeded_rate_limit_says_when_to_retry(locked):
    codes = [(await locked.get("/v1/models", headers=bearer("bert-key"))).status_code for _ in range(2)]
    assert codes == [200, 200]
    response = await locked.get("/v1/models", headers=bearer("bert-key"))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "rate_limited"


async def test_a_rejected_request_is_logged_for_the_tenant_of_its_key(locked, caplog):
    tenants = []
    caplog.set_level("INFO", "gateway")
    caplog.handler.addFilter(lambda _: tenants.append(current().tenant) or True)
    codes = [(await locked.get("/v1/models", headers=bearer("bert-key"))).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert [record.getMessage() for record in caplog.records] == [
        "GET /v1/models: RATE_LIMITED: the rate limit of this API key is exceeded"
    ]
    assert tenants == ["bert"]


def test_a_bucket_fills_up_again():
    clock = [0.0]
    bucket = TokenBucket(2.0, 1, lambda: clock[0])
    bucket.take()
    with pytest.raises(RateLimited) as refused:
        bucket.take()
    assert refused.value.retry_after == pytest.approx(0.5)
    clock[0] = 0.5
    bucket.take()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.com", ""])
def test_without_keys_only_loopback_is_listened_on(host, keys_file):
    with pytest.raises(SystemExit, match="without API keys"):
        require_loopback(host, Keys())
    require_loopback(host, Keys.read(keys_file))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.0.1"])
def test_loopback_needs_no_keys(host):
    require_loopback(host, Keys())


@pytest.mark.parametrize("text", ["", "keys = 3", "[[keys]]\nsha256 = 'x'\nowner = 'a'", "not toml"])
def test_a_keys_file_that_is_wrong_stops_the_start(tmp_path, text):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"keys\.toml"):
        Keys.read(path)
    with pytest.raises(SystemExit):
        Keys.read(tmp_path / "none.toml")


def test_an_invalid_keys_file_does_not_show_what_may_be_a_key(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text('[[keys]]\nsha256 = "the key itself"\nowner = "anna"\n')
    with pytest.raises(SystemExit) as refused:
        Keys.read(path)
    assert "sha256" in str(refused.value)
    assert "the key itself" not in str(refused.value)
