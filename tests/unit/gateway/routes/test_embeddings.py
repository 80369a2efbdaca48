"""Embeddings as JSON: encoded in parts, so that a million numbers do not stop the event loop."""

import base64

import numpy as np
import pytest

from gateway.routes import embeddings


@pytest.mark.parametrize("at_once", [1, 3, 64])
async def test_embeddings_that_are_encoded_in_parts_are_one_answer(http, monkeypatch, at_once):
    monkeypatch.setattr(embeddings, "ROWS_AT_ONCE", at_once)
    texts = ["a", "bb", "ccc", "dddd"]
    answer = (await http.post("/v1/embeddings", json={"input": texts})).json()
    assert [row["index"] for row in answer["data"]] == [0, 1, 2, 3]
    assert [row["embedding"] for row in answer["data"]] == [[1, 1], [2, 1], [3, 1], [4, 1]]
    packed = (await http.post("/v1/embeddings", json={"input": texts, "encoding_format": "base64"})).json()
    rows = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4").tolist() for row in packed["data"]]
    assert rows == [row["embedding"] for row in answer["data"]]
