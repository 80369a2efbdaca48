import time

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import OutOfMemory
from servekit.models import catalogue
from services.retrieval.embed.models.fake import FakeEmbedder

SPEC = catalogue.model("fake-embedder")


def embed(*texts: str, **options):
    model = FakeEmbedder(SPEC.model_copy(update={"options": options}))
    return model.run([model.prepare(text) for text in texts], CancellationToken())


def test_texts_that_share_words_are_near():
    query, near, far = (e.vector for e in embed("pump pressure", "The PUMP lost pressure.", "A cat sat."))
    assert query @ near > 0.5 > 0.3 > query @ far
    np.testing.assert_allclose([np.linalg.norm(v) for v in (query, near, far)], 1.0, atol=1e-6)


def test_vectors_are_deterministic_and_never_zero():
    texts = ("今天天气很好", "!", "word " * 1000)
    for one, other in zip(embed(*texts), embed(*texts), strict=True):
        np.testing.assert_array_equal(one.vector, other.vector)
        assert one.vector.shape == (384,)
        assert one.vector.any()
    assert [(e.tokens, e.truncated) for e in embed(*texts)] == [(6, False), (1, False), (256, True)]


def test_the_fake_is_slow_and_fails_as_its_options_say():
    began = time.monotonic()
    embed("a", latency_seconds=0.05)
    assert time.monotonic() - began >= 0.05
    with pytest.raises(OutOfMemory):
        embed("a", fail="OUT_OF_MEMORY")
