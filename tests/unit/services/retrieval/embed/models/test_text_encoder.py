"""The embedder on a text encoder, with MiniLM's weights."""

import numpy as np

from servekit.context import CancellationToken
from servekit.models import catalogue
from services.retrieval.embed.models.text_encoder import load
from services.retrieval.settings import RetrievalSettings


def test_each_text_has_its_vector_its_tokens_and_whether_it_was_truncated():
    model = load(catalogue.model("all-minilm-l6-v2"), RetrievalSettings(threads=1))
    near, long, other = (model.prepare(text) for text in ("a cat sat", "cat " * 1000, "stock markets fell"))
    embedded = model.run([near, long, other], CancellationToken())
    assert [(text.tokens, text.truncated) for text in embedded] == [(5, False), (256, True), (5, False)]
    assert np.allclose([np.linalg.norm(text.vector) for text in embedded], 1, atol=1e-5)
    assert embedded[0].vector @ embedded[1].vector > embedded[0].vector @ embedded[2].vector
    assert (model.dimensions, model.max_tokens, list(model.networks)) == (384, 256, [""])
    model.close()
