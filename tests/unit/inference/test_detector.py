"""The detector: any kind of input, results at its size, and what a result can be turned into."""

import json
import logging
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import samspl
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.draw import draw_targets
from samspl.errors import CheckpointError, ConfigError, ImageError
from samspl.imaging import read_image, write_image
from samspl.inference.result import Result
from samspl.inference.tiling import predict_tiled
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.targets import find_targets
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state, Preprocess((110.0,), (40.0,), image_size=64)))
    return path


@pytest.fixture(scope="module")
def detector(weights):
    return samspl.Detector(weights, device="cpu")


def frame(height=50, width=70):
    return np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)


def test_result_has_the_size_of_the_image(detector):
    result = detector(frame())
    assert result.prob.shape == result.mask.shape == (50, 70)
    assert result.prob.dtype == np.float32
    assert result.mask.dtype == np.bool_
    assert np.array_equal(result.mask, result.prob > 0.5)
    assert [t.area_px for t in result.targets] == [t.area_px for t in find_targets(result.mask)]
    assert all(t.peak is not None and t.score > 0.5 for t in result.targets)


def test_path_array_and_pil_image_give_the_same(detector, tmp_path):
    image = frame()
    write_image(tmp_path / "frame.png", image)
    colour = Image.fromarray(image).convert("RGB")
    sources = [tmp_path / "frame.png", str(tmp_path / "frame.png"), image, Image.fromarray(image), colour]
    sources += [
        np.asarray(colour),
        image[:, :, None],
        colour.convert("RGBA"),
        Image.fromarray(image).convert("LA"),
    ]
    expected = detector(image).prob
    for result in detector(sources):
        assert np.array_equal(result.prob, expected)


def test_palette_images_are_looked_up(detector):
    palette = Image.fromarray(frame() // 64)
    palette.putpalette([value for i in range(256) for value in (255 - i, 255 - i, 255 - i)])
    looked_up = np.asarray(palette.convert("L"))
    assert np.array_equal(detector(palette).prob, detector(looked_up).prob)


def test_list_gives_a_list_and_names_are_kept(detector, tmp_path):
    write_image(tmp_path / "a.png", frame())
    results = detector([tmp_path / "a.png", frame()])
    assert [r.name for r in results] == ["a.png", "image"]
    assert detector([]) == []


def test_many_images_of_mixed_sizes_give_the_results_of_each(detector):
    images = [frame(50, 70), frame(64, 64), frame(50, 70) // 2, frame(1, 9)]
    names = ["a", "b", "c", "d"]
    results = detector.detect_many(images, names)
    assert [r.name for r in results] == names
    for image, result in zip(images, results, strict=True):
        assert result.image is image
        np.testing.assert_allclose(result.prob, detector(image).prob, atol=1e-5)
    assert detector.detect_many([], []) == []


def test_images_of_equal_size_are_run_as_one_batch(weights, monkeypatch):
    detector = samspl.Detector(weights, device="cpu", preprocess=Preprocess())
    batches = []
    run = detector._backend.model
    monkeypatch.setattr(detector._backend, "model", lambda x: batches.append(tuple(x.shape)) or run(x))
    detector.detect_many([frame(40, 50), frame(64, 32), frame(40, 50) // 3], list("abc"))
    assert sorted(batches) == [(1, 3, 64, 32), (2, 3, 64, 64)]


def test_bad_image_among_many_is_named(detector):
    with pytest.raises(ImageError, match="b.png: image holds NaN"):
        detector.detect_many([frame(), np.full((8, 8), np.nan)], ["a.png", "b.png"])
    with pytest.raises(ImageError, match="b.png: array of shape .* has no pixels"):
        detector.detect_many([frame(), np.zeros((0, 4))], ["a.png", "b.png"])
    with pytest.raises(ValueError, match="2 images and 1 names"):
        detector.detect_many([frame(), frame()], ["a.png"])


@pytest.mark.parametrize("tile", ["auto", 32])
def test_frame_statistics_ignore_gain_offset_and_type(tmp_path, tile):
    path = tmp_path / "w.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state, Preprocess(normalise="frame")))
    detect = samspl.Detector(path, device="cpu", tile=tile)
    image = frame(40, 48)
    expected = detect(image)
    for same in (image.astype(np.uint16) * 256, image.astype(np.float32)):
        result = detect(same)
        np.testing.assert_array_equal(result.prob, expected.prob)
        assert [(t.bbox_xyxy, t.score) for t in result.targets] == [
            (t.bbox_xyxy, t.score) for t in expected.targets
        ]
    np.testing.assert_allclose(detect(image.astype(np.float64) * 3.5e-3 + 7).prob, expected.prob, atol=1e-4)


def test_threshold_is_the_checkpoints_unless_given(tmp_path):
    path = tmp_path / "w.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state, Preprocess(), threshold=0.3))
    assert samspl.Detector(path).threshold == 0.3
    result = samspl.Detector(path, threshold=0.7)(frame())
    assert np.array_equal(result.mask, result.prob > 0.7)
    with pytest.raises(ValueError, match="threshold"):
        samspl.Detector(path, threshold=1.5)


def test_small_targets_can_be_dropped_from_mask_and_list(weights):
    image = frame()
    threshold = float(np.median(samspl.Detector(weights)(image).prob))  # speckle of all sizes
    everything = samspl.Detector(weights, threshold=threshold)(image)
    areas = sorted(t.area_px for t in everything.targets)
    assert len(areas) > 2
    least = areas[len(areas) // 2] + 1
    result = samspl.Detector(weights, threshold=threshold, min_area_px=least)(image)
    assert sorted(t.area_px for t in result.targets) == [a for a in areas if a >= least]
    assert result.mask.sum() == sum(a for a in areas if a >= least)


def test_result_goes_to_files_and_plain_values(detector, tmp_path):
    image = frame()
    result = detector.detect(image, "day/one.png")
    paths = result.save(tmp_path / "out", ["mask", "overlay", "prob", "json"])
    relative = [p.relative_to(tmp_path / "out").as_posix() for p in paths]
    assert relative == ["mask/day/one.png", "overlay/day/one.png", "prob/day/one.tiff", "day/one.json"]
    assert np.array_equal(read_image(paths[0]) > 0, result.mask)
    assert np.array_equal(read_image(paths[2]), result.prob)
    content = json.loads(paths[3].read_text())
    assert content == result.to_dict()
    assert content["file"] == "day/one.png"
    assert len(content["targets"]) == len(result.targets)
    assert result.draw().mode == "RGB"
    with pytest.raises(ValueError, match="unknown kind 'xml'"):
        result.save(tmp_path, ["xml"])


@pytest.mark.parametrize("image", [frame(), frame().astype(np.uint16) * 200, np.full((9, 9), 3.5)])
def test_deep_frames_are_drawn_as_others_draw_them(image):
    mask = np.zeros(image.shape, bool)
    mask[3:6, 4:7] = True
    targets = tuple(find_targets(mask))
    drawn = Result("a", image, mask.astype(np.float32), mask, targets).draw()
    difference = np.asarray(drawn, int) - np.asarray(draw_targets(image, targets), int)
    assert np.abs(difference).max() <= 1  # rounded from single precision


def test_drawing_a_deep_frame_takes_little_memory():
    image = np.random.default_rng(0).integers(0, 60000, (1500, 1500), dtype=np.uint16)
    mask = np.zeros(image.shape, bool)
    result = Result("a", image, mask.astype(np.float32), mask, ())
    result.draw()  # fonts are loaded once
    tracemalloc.start()
    try:
        result.draw()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * image.size  # bytes of numpy; the picture itself is Pillow's


def test_weights_without_preprocessing_say_what_to_do(tmp_path):
    path = tmp_path / "w.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state))
    with pytest.raises(CheckpointError, match="--dataset"):
        samspl.Detector(path)
    assert samspl.Detector(path, preprocess=Preprocess())(frame()).mask.shape == (50, 70)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.full((8, 8), np.nan), "image: image holds NaN"),
        (np.zeros((0, 5), np.uint8), "no pixels"),
        (np.zeros((2, 3, 4, 5), np.uint8), "shape"),
        ("absent.png", "absent.png"),
    ],
)
def test_unusable_image_is_a_sentence(detector, source, words):
    with pytest.raises(ImageError, match=words):
        detector(source)


@pytest.mark.parametrize("tile", ["auto", 64])
@pytest.mark.parametrize(
    "preprocess", [Preprocess(normalise="frame"), Preprocess(image_size=64)], ids=["own", "64"]
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (33, 65), (64, 64), (65, 63), (2, 1)])
def test_any_size_works(weights, shape, preprocess, tile):
    result = samspl.Detector(weights, "cpu", preprocess=preprocess, tile=tile)(frame(*shape))
    assert result.mask.shape == result.prob.shape == shape
    assert np.isfinite(result.prob).all()


@pytest.mark.parametrize(
    "preprocess", [Preprocess(normalise="frame"), Preprocess(image_size=96)], ids=["own", "96"]
)
@pytest.mark.parametrize("shape", [(64, 64), (50, 70), (96, 96)])
def test_frame_that_fits_one_tile_gives_identical_results(weights, shape, preprocess):
    image = frame(*shape)
    untiled = samspl.Detector(weights, "cpu", preprocess=preprocess)(image)
    tiled = samspl.Detector(weights, "cpu", preprocess=preprocess, tile=96)(image)
    np.testing.assert_array_equal(tiled.prob, untiled.prob)
    assert tiled.targets == untiled.targets


def test_larger_frames_are_cut_by_the_statistics_of_the_whole(weights):
    image = frame(96, 180)
    image[:, 90:] //= 8  # two halves that would be normalised differently alone
    preprocess = Preprocess(normalise="frame")
    detect = samspl.Detector(weights, "cpu", preprocess=preprocess, tile=96)
    expected = predict_tiled(detect._backend, image, preprocess, (96, 96))
    np.testing.assert_array_equal(detect(image).prob, expected)
    assert not np.array_equal(samspl.Detector(weights, "cpu", preprocess=preprocess)(image).prob, expected)


def test_resizing_checkpoint_cuts_only_where_tiles_are_asked_for(weights, caplog):
    image = frame(150, 140)
    sizes = []
    for tile in ("auto", 64):
        detect = samspl.Detector(weights, "cpu", tile=tile)
        run = detect._backend.model
        detect._backend.model = lambda x, run=run: sizes.append(tuple(x.shape[2:])) or run(x)
        detect.detect(image, "big.png")
    assert sizes == [(64, 64)] * (1 + 4 * 4)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "big.png is 140x150 and shrunk to 64x64, as its weights were trained: small targets may vanish; "
        "give a tile size to keep its scale"
    ]


class FixedBackend:
    """What an exported file looks like: one input size, its own preprocessing."""

    threshold = 0.5

    def __init__(self, preprocess, input_size):
        self.preprocess = preprocess
        self.input_size = input_size
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return images[:, :1]


@pytest.fixture
def open_fixed(monkeypatch):
    def opener(preprocess, input_size, **options):
        backend = FixedBackend(preprocess, input_size)
        monkeypatch.setattr("samspl.inference.detector.open_backend", lambda *_: backend)
        return samspl.Detector("file.onnx", **options), backend

    return opener


def test_exported_file_of_fixed_input_gets_that_size_alone(open_fixed):
    detect, backend = open_fixed(Preprocess(), 96)
    assert [r.mask.shape for r in detect.detect_many([frame(20, 30), frame(96, 96)], ["a", "b"])] == [
        (20, 30),
        (96, 96),
    ]
    assert backend.shapes == [(2, 3, 96, 96)]
    detect(frame(40, 200))
    assert set(backend.shapes[1:]) == {(1, 3, 96, 96)}
    assert len(backend.shapes) == 1 + 3


def test_what_an_exported_file_cannot_do_is_refused(open_fixed):
    with pytest.raises(ConfigError, match="tile is 128, but file.onnx takes 96x96 only.*--image-size 128"):
        open_fixed(Preprocess(), 96, tile=128)
    with pytest.raises(CheckpointError, match="takes 96x96, but images are to be resized to 256x256"):
        open_fixed(Preprocess(image_size=256), 96)
    open_fixed(Preprocess(image_size=90), 96)


@pytest.mark.parametrize("tile", [100, 0, "large"])
def test_tile_that_is_none_is_refused_before_anything_is_loaded(tile):
    with pytest.raises(ValueError, match="expected 'auto' or a positive multiple of 32"):
        samspl.Detector("absent.pt", tile=tile)


@pytest.mark.parametrize(
    "image", [np.full((40, 50), 7, np.uint8), np.full((150, 90), 1e-3), np.zeros((1, 1), np.int32)]
)
def test_constant_frame_has_no_targets(weights, image):
    for preprocess in (Preprocess((110.0,), (40.0,)), Preprocess(normalise="frame")):
        result = samspl.Detector(weights, "cpu", preprocess=preprocess, tile=64)(image)
        assert result.targets == ()
        assert not result.mask.any()
        assert (result.prob == 0).all()


def test_colour_photo_is_taken_as_its_grey(detector):
    photo = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(photo).convert("L"))
    for source in (photo, Image.fromarray(photo)):
        result = detector(source)
        np.testing.assert_array_equal(result.image, grey)
        np.testing.assert_array_equal(result.prob, detector(grey).prob)


def test_threads_that_share_a_detector_do_not_disturb_each_other(weights):
    detect = samspl.Detector(weights, "cpu", preprocess=Preprocess(normalise="frame"), tile=64)
    images = [frame(64, 64), frame(100, 130), frame(70, 64) // 3, frame(30, 200)] * 3
    expected = [detect(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(expected, pool.map(detect, images), strict=True):
            np.testing.assert_allclose(other.prob, one.prob, atol=1e-5)


def test_unknown_backend_and_area_are_refused(weights):
    with pytest.raises(ConfigError, match="unknown backend 'tensorflow'"):
        samspl.Detector(weights, backend="tensorflow")
    with pytest.raises(ValueError, match="min_area_px is 0"):
        samspl.Detector(weights, min_area_px=0)
