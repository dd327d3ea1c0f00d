"""Devices by name, and the torch back end."""

import threading

import numpy as np
import pytest
import torch

from samspl.backends import TorchBackend, open_backend, resolve_device
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.errors import CheckpointError, ConfigError
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill, image
from tests.unit.models.test_network import NARROW


def test_cpu_is_always_there():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_device_lists_the_known_ones(name):
    with pytest.raises(ConfigError, match="known: auto, cpu, cuda:N, mps"):
        resolve_device(name)


def test_device_that_is_not_there_is_refused():
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    with pytest.raises(ConfigError, match=f"torch sees {count} CUDA devices"):
        resolve_device(f"cuda:{count}")


def test_arrays_and_tensors_give_the_finest_logits():
    model = fill(SAMSPL(NARROW))
    backend = TorchBackend(model, "cpu")
    x = image(2, 64, 32, seed=0)
    with torch.no_grad():
        expected = model(x)[0].numpy()
    for values in (x, x.numpy()):
        logits = backend(values)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_network_runs_in_eval_mode_and_the_given_one_stays_in_training():
    model = SAMSPL(NARROW).train()
    x = image(1, 32, 32, seed=0)
    backend = TorchBackend(model, "cpu")
    assert model.training
    assert not backend.model.training
    assert np.array_equal(backend(x), backend(x))


def test_opening_a_file_gives_its_network_preprocessing_and_threshold(tmp_path):
    model = fill(SAMSPL(NARROW))
    preprocess = Preprocess((110.0,), (40.0,), 64)
    write_checkpoint(
        tmp_path / "best.safetensors", Checkpoint(NARROW, model.state_dict(), preprocess, threshold=0.3)
    )
    backend = open_backend(tmp_path, device="cpu")
    assert (backend.preprocess, backend.threshold, backend.input_size) == (preprocess, 0.3, None)
    x = image(1, 64, 96, seed=3)
    with torch.no_grad():
        np.testing.assert_allclose(backend(x.numpy()), model(x)[0].numpy(), atol=1e-4)


def test_wrong_names_and_numbers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown backend 'tensorflow'; known: onnx, openvino, torch"):
        open_backend(tmp_path, "tensorflow")
    with pytest.raises(ValueError, match="threads is 0"):
        open_backend(tmp_path, threads=0)
    with pytest.raises(ConfigError, match="best.safetensors"):
        open_backend(tmp_path)
    (tmp_path / "w.pt").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        open_backend(tmp_path / "w.pt")


def test_threads_do_not_disturb_each_other():
    backend = TorchBackend(fill(SAMSPL(NARROW)), "cpu")
    inputs = [image(1, 32, 32 * (i + 1), seed=i) for i in range(4)]
    expected = [backend(x) for x in inputs]
    results: dict[int, list[np.ndarray]] = {}

    def work(i: int) -> None:
        results[i] = [backend(inputs[i]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, value in enumerate(expected):
        for other in results[i]:
            np.testing.assert_allclose(other, value, rtol=1e-5, atol=1e-5)
