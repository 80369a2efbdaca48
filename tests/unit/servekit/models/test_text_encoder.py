"""The text encoder with MiniLM's weights, against vectors that another implementation made."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from servekit.context import CancellationToken
from servekit.errors import Cancelled, InvalidArgument, TooLarge
from servekit.models import catalogue
from servekit.models.bert import network
from servekit.models.text_encoder import load_text_encoder
from servekit.ops.settings import ProcessSettings

REFERENCE = json.loads(Path(__file__).with_name("reference_vectors.json").read_text())["rows"]
TOLERANCE = 1e-4
"""How far the elements of unit vectors may be from another implementation's, on any processor."""

SPEC = catalogue.model("all-minilm-l6-v2")
FOLDER = SPEC.folder(ProcessSettings().models_dir)


@pytest.fixture(scope="module")
def encoder():
    assert (FOLDER / "model.safetensors").exists(), "its weights are missing: run `polyphony models pull`"
    model = load_text_encoder(FOLDER, provider="cpu", threads=1, max_tokens=256, max_batch_tokens=512)
    yield model
    model.close()


def test_vectors_match_the_reference(encoder):
    texts = [encoder.tokenize(row["text"]) for row in REFERENCE]
    assert [len(text.ids) for text in texts] == [row["tokens"] for row in REFERENCE]
    assert [text.truncated for text in texts] == [row["truncated"] for row in REFERENCE]
    vectors = encoder.encode(texts, CancellationToken())
    assert vectors.dtype == np.float32
    assert np.abs(vectors - [row["embedding"] for row in REFERENCE]).max() < TOLERANCE


def test_a_text_gets_the_same_vector_in_any_batch(encoder):
    for row in REFERENCE:
        [alone] = encoder.encode([encoder.tokenize(row["text"])], CancellationToken())
        assert np.abs(alone - row["embedding"]).max() < TOLERANCE


def test_several_threads_encode_at_once(encoder):
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda row: encoder.encode([encoder.tokenize(row["text"])], CancellationToken()), REFERENCE)
        for [vector], row in zip(runs, REFERENCE, strict=True):
            assert np.abs(vector - row["embedding"]).max() < TOLERANCE


@pytest.mark.parametrize("text", ["word " * 20_000, "x" * 90 + " " * 40_000 + "tail " * 300, "今" * 20_000])
def test_a_long_text_is_truncated_where_its_whole_tokenisation_would_be(encoder, text):
    tokens = encoder.tokenize(text)
    whole = encoder._tokenizer.encode(text).ids
    assert tokens.truncated
    assert tokens.ids.tolist() == [*whole[:255], whole[-1]]


def test_a_text_of_few_tokens_and_many_characters_is_not_truncated(encoder):
    tokens = encoder.tokenize("alpha" + " " * 40_000 + "omega")
    assert (len(tokens.ids), tokens.truncated) == (4, False)


def test_a_cancelled_run_stops_between_batches(encoder):
    cancellation = CancellationToken()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        encoder.encode([encoder.tokenize("unused")], cancellation)


def test_the_network_splits_a_large_batch(encoder):
    rows, tokens = 70, 32
    ids = np.random.default_rng(0).integers(1000, 20_000, (rows, tokens))
    mask = np.ones_like(ids)
    vectors = encoder.network.infer({"input_ids": ids, "attention_mask": mask})["embedding"]
    assert vectors.shape == (rows, 384)
    last = encoder.network.infer({"input_ids": ids[-1:], "attention_mask": mask[-1:]})["embedding"]
    assert np.abs(vectors[-1] - last[0]).max() < 1e-5


@pytest.mark.parametrize(
    ("ids", "mask", "error"),
    [
        (np.ones((1, 257), np.int64), np.ones((1, 257), np.int64), TooLarge),
        (np.ones((2, 8), np.int64), np.ones((2, 5), np.int64), InvalidArgument),
        (np.full((1, 8), 30_522), np.ones((1, 8), np.int64), InvalidArgument),
    ],
)
def test_the_network_rejects_what_does_not_fit(encoder, ids, mask, error):
    with pytest.raises(error) as raised:
        encoder.network.infer({"input_ids": ids, "attention_mask": mask})
    assert raised.value.field.startswith("inputs")


def test_the_network_is_exported_once_and_again_when_the_weights_change(tmp_path):
    config = json.loads((FOLDER / "config.json").read_text()) | {"num_hidden_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = {name: array for name, array in load_file(FOLDER / "model.safetensors").items() if ".layer.0." in name}
    whole = load_file(FOLDER / "model.safetensors")
    weights |= {name: array[:64] for name, array in whole.items() if name.startswith("embeddings.")}
    save_file(weights, tmp_path / "model.safetensors")
    first = network(tmp_path)
    assert isinstance(first, Path)
    made = first.stat().st_mtime_ns
    assert network(tmp_path) == first
    assert first.stat().st_mtime_ns == made
    weights["encoder.layer.0.output.dense.bias"] = weights["encoder.layer.0.output.dense.bias"] + 1
    save_file(weights, tmp_path / "model.safetensors")
    assert network(tmp_path) != first
    assert not first.exists()
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; tests/images has it read-only")
def test_the_network_of_a_read_only_folder_is_kept_in_memory(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(FOLDER / name)
    tmp_path.chmod(0o555)
    made = network(tmp_path)
    assert isinstance(made, bytes)
    assert onnx.load_model_from_string(made).graph.output[0].name == "embedding"
