"""ONNX Runtime and OpenVINO for real: the same logits as torch, from weights and from files, and unusable files."""

import logging
import sys
import threading

import numpy as np
import pytest
import torch

from samspl.backends import open_backend
from samspl.backends.onnx import to_onnx
from samspl.backends.openvino import to_openvino
from samspl.errors import CheckpointError, ConfigError
from samspl.export.files import write_onnx, write_openvino
from samspl.models.inference import prepare_for_inference
from tests.deterministic import image
from tests.unit.backends.exported import FACTS, PREPROCESS, network, write_weights

NEEDS = {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
RUNTIMES = tuple(NEEDS)


def skip_without(backend: str) -> None:
    for module in NEEDS[backend]:
        pytest.importorskip(module, reason=f"the extra {backend} is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture(scope="module")
def expected():
    with torch.no_grad():
        return network()(image(2, 32, 32, seed=0))[0].numpy()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    skip_without("onnx")
    path = tmp_path_factory.mktemp("onnx") / "w.onnx"
    write_onnx(path, to_onnx(prepare_for_inference(network()), (32, 32)), FACTS)
    return path


@pytest.fixture(scope="module")
def openvino_file(tmp_path_factory):
    skip_without("openvino")
    path = tmp_path_factory.mktemp("openvino") / "w.xml"
    write_openvino(path, to_openvino(prepare_for_inference(network()), (32, 32)), FACTS)
    return path


@pytest.mark.parametrize("backend", RUNTIMES)
def test_weights_are_converted_at_the_first_call(backend, weights, expected):
    skip_without(backend)
    opened = open_backend(weights, backend, "cpu", threads=1)
    assert (opened.preprocess, opened.threshold, opened.input_size) == (PREPROCESS, 0.4, None)
    logits = opened(image(2, 32, 32, seed=0).numpy())
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("file", ["onnx_file", "openvino_file"])
def test_exported_file_runs_in_its_own_runtime_and_knows_its_facts(file, request, expected):
    opened = open_backend(request.getfixturevalue(file), threads=1)
    assert (opened.preprocess, opened.threshold, opened.input_size) == (PREPROCESS, 0.4, 32)
    np.testing.assert_allclose(opened(image(2, 32, 32, seed=0).numpy()), expected, atol=1e-4)


def test_onnx_file_runs_in_openvino_too(onnx_file, expected):
    skip_without("openvino")
    opened = open_backend(onnx_file, "openvino", threads=1)
    assert opened.input_size == 32
    np.testing.assert_allclose(opened(image(2, 32, 32, seed=0).numpy()), expected, atol=1e-4)


@pytest.mark.parametrize("file", ["onnx_file", "openvino_file"])
def test_several_threads_get_each_their_own_logits(file, request):
    backend = open_backend(request.getfixturevalue(file), threads=1)
    inputs = [image(1, 32, 32, seed=i).numpy() for i in range(4)]
    alone = [backend(x) for x in inputs]
    found: dict[int, list[np.ndarray]] = {}

    def work(i: int) -> None:
        found[i] = [backend(inputs[i]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, value in enumerate(alone):
        for other in found[i]:
            np.testing.assert_allclose(other, value, atol=1e-5)


def test_openvino_file_is_not_run_by_onnx(openvino_file):
    with pytest.raises(ConfigError, match="use --backend openvino"):
        open_backend(openvino_file, "onnx")


@pytest.mark.parametrize("name", ["absent.onnx", "absent.xml"])
def test_absent_file_is_wrong_usage(name, tmp_path):
    with pytest.raises(ConfigError, match=f"{name} do not exist"):
        open_backend(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"garbage", b"<net></net>", b"<net><rt_info/></net>"])
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_damaged_or_foreign_file_is_a_sentence(suffix, content, tmp_path):
    skip_without("onnx" if suffix == ".onnx" else "openvino")
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.(onnx|xml) is (no|without)"):
        open_backend(path)


def test_onnx_file_of_another_program_is_refused(tmp_path):
    skip_without("onnx")
    path = tmp_path / "other.onnx"
    path.write_bytes(to_onnx(prepare_for_inference(network()), (32, 32)))
    with pytest.raises(CheckpointError, match=r"other\.onnx is without samspl's metadata"):
        open_backend(path)


def test_openvino_file_whose_weights_are_gone_or_cut_is_refused(openvino_file, tmp_path):
    path = tmp_path / "w.xml"
    path.write_bytes(openvino_file.read_bytes())
    with pytest.raises(CheckpointError, match=r"has no w\.bin beside it"):
        open_backend(path)
    path.with_suffix(".bin").write_bytes(openvino_file.with_suffix(".bin").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be run by OpenVINO or is damaged"):
        open_backend(path)


@pytest.mark.parametrize("backend", RUNTIMES)
def test_missing_extra_says_what_to_install(backend, weights, monkeypatch):
    monkeypatch.setitem(sys.modules, NEEDS[backend][-1], None)
    with pytest.raises(ConfigError, match=rf"pip install 'samspl\[{backend}\]'"):
        open_backend(weights, backend)


@pytest.mark.parametrize("backend", RUNTIMES)
def test_other_devices_are_refused(backend, weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=f"backend {backend} runs on the CPU"):
        open_backend(weights, backend, "cuda:0")
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        open_backend(weights, backend, "gpu")


def test_bf16_file_says_where_it_runs_in_fp32(openvino_file, tmp_path, caplog, monkeypatch, expected):
    path = tmp_path / "w.xml"
    text = openvino_file.read_text()
    assert text.count('<precision value="fp32"') == 1
    path.write_text(text.replace('<precision value="fp32"', '<precision value="bf16"'))
    path.with_suffix(".bin").write_bytes(openvino_file.with_suffix(".bin").read_bytes())
    monkeypatch.setattr("samspl.backends.openvino.has_bf16", lambda: False)
    monkeypatch.setattr(logging.getLogger("samspl"), "propagate", True)
    with caplog.at_level(logging.WARNING):
        backend = open_backend(path, threads=1)
    assert "w.xml runs in fp32, since this processor has no bf16" in caplog.text
    np.testing.assert_allclose(backend(image(2, 32, 32, seed=0).numpy()), expected, rtol=1e-3, atol=1e-3)
