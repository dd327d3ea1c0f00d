"""Every command and script of the pages is carried out, in order, a page at a time, in a folder with small data.

Commands run in this process, so that torch is imported once. Networks are narrow, epochs and images few; every word of
a command is parsed and acted on all the same. What needs a network, GPUs or several machines says so before the block.
"""

import argparse
import dataclasses
import importlib
import importlib.util
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samspl.assets
import samspl.checkpoint
import samspl.cli.train
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.cli.main import build_parser, main
from samspl.config import ModelConfig
from samspl.data import synthetic
from samspl.export import bench
from samspl.export import run as export_run
from samspl.export.parity import AccuracyLoss
from samspl.imaging import write_image
from samspl.inference import ray_engine
from samspl.inference.local_engine import run_local
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS
from samspl.preprocess import Preprocess
from samspl.train_config import TrainConfig
from tests.deterministic import fill
from tests.integration.pages import COMMANDS, EXTRAS, PROJECT, Block, blocks, pages, prose

NARROW = ModelConfig(
    embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32, mlp_width=48, attention_floor=4
)
SIDE = 64
LANGUAGES = {"", "text", "json", "toml", "sbatch", "yaml", "python", *COMMANDS}
OWN_TEST = {"evaluation.md"}
"""Pages whose test compares every figure, too."""


def write_set(root: Path, count: int, lists: bool, folders: tuple[str, str] = ("images", "masks")) -> None:
    """A data set of drawn scenes."""
    ids = [f"{k:06d}" for k in range(1, count + 1)]
    ending = "" if folders[1] == "masks" else "_gt"
    for k, image_id in enumerate(ids):
        rng = np.random.default_rng([len(root.name), k])
        scene = synthetic.draw_scene(rng, size_hw=(SIDE, SIDE), scr_range=(6, 15), target_count=2)
        write_image(root / folders[0] / f"{image_id}.png", scene.image)
        write_image(root / folders[1] / f"{image_id}{ending}.png", scene.mask)
    if lists:
        third = count // 3
        for name, part in (("train", ids[third:]), ("test", ids[:third])):
            path = root / f"{name}.txt"
            if root.name == "NUAA-SIRST":  # asks for one of its two sets of lists
                path = root / "img_idx" / f"{name}_{root.name}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text("\n".join(part) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder before the first command."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("NUDT-SIRST", "NUAA-SIRST", "IRSTD-1k", "IRSTDID-SKY"):
        write_set(folder / "datasets" / name, 12, lists=True)
    write_set(folder / "datasets" / "mine", 12, lists=False)
    write_set(folder / "datasets" / "harbour", 12, lists=False, folders=("frames", "labels"))
    for k in range(6):
        scene = synthetic.draw_scene(np.random.default_rng([7, k]), size_hw=(SIDE, SIDE), bits=16)
        write_image(folder / "frames" / f"{k:04d}.png", scene.image)
    write_image(folder / "frame.tiff", scene.image)
    shutil.copytree(PROJECT / "configs", folder / "configs")
    network = fill(SAMSPL(NARROW))
    state = network.state_dict()
    for name in ("NUDT-SIRST.pt", "NUDT.pt"):
        torch.save(state, folder / name)
    known = Checkpoint(NARROW, state, Preprocess((100.0,), (40.0,), SIDE))
    native = Checkpoint(NARROW, state, Preprocess(normalise="frame"))
    for name, checkpoint in (
        ("prepared/NUDT-SIRST", known),
        ("prepared/NUAA-SIRST", known),
        ("prepared/scenes", known),
        ("prepared/nano", native),
    ):
        write_checkpoint(folder / name / "best.safetensors", checkpoint)
    write_checkpoint(folder / "best.safetensors", known)
    trunk = network.encoder.trunk.state_dict()
    (folder / "cache").mkdir()
    content = {"model": {f"image_encoder.trunk.{key}": value for key, value in trunk.items()}}
    for size in ("tiny", "small"):
        torch.save(content, folder / "cache" / f"sam2.1_hiera_{size}.pt")
    return folder


@pytest.fixture
def folder(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the user's folder, with narrow networks, few epochs, and no network."""
    here = tmp_path / "here"
    shutil.copytree(world, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("SAMSPL_CACHE", str(here / "cache"))
    monkeypatch.setenv("SAMSPL_OFFLINE", "1")
    for name in list(VARIANTS):
        monkeypatch.setitem(VARIANTS, name, NARROW)
    if not samspl.assets.bundled_weights():
        nano = {"nano": here / "prepared" / "nano" / "best.safetensors"}
        for module in (samspl.assets, samspl.checkpoint):
            monkeypatch.setattr(module, "bundled_weights", lambda: nano)

    to_config = samspl.cli.train.to_config

    def shortened(args: Any) -> TrainConfig:
        config = to_config(args)
        return dataclasses.replace(
            config,
            epochs=1,
            warmup_epochs=0,
            batch_size=min(config.batch_size, 4),
            synthetic_count=4,
            image_size=SIDE,
            patch_size=None if config.patch_size is None else SIDE // 2,
            workers=0,
        )

    monkeypatch.setattr(samspl.cli.train, "to_config", shortened)
    draw = synthetic.write_dataset

    def draw_few(out: Path, count: int, seed: int, bits: Any, scr: Any, size_hw: Any, **rest: Any) -> None:
        draw(out, min(count, 12), seed, bits, scr, (SIDE, SIDE), **rest)

    monkeypatch.setattr(synthetic, "write_dataset", draw_few)
    if importlib.util.find_spec("gradio"):
        app = importlib.import_module("samspl.web.app")

        def build(offered: Any, host: str, port: int, device: str, max_upload_mb: float, ready: Any) -> None:
            app.build_app(offered, here, device, max_upload_mb)
            ready(f"http://{host}:{port}")

        monkeypatch.setattr(app, "serve", build)
    patch_export(monkeypatch)
    # a Ray cluster of its own for each page takes longer than all else; tests/integration/test_predict_ray.py has one
    monkeypatch.setattr(ray_engine, "connect", lambda: None)
    monkeypatch.setattr(
        ray_engine,
        "run_ray",
        lambda job, files, outputs, report, known, *_: run_local(
            job.detector(), files, outputs, report, known
        ),
    )
    threads = torch.get_num_threads()
    yield here
    torch.set_num_threads(threads)


def patch_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of one round in torch alone, at a small size; int8 for OpenVINO without the work of it, and of random
    weights it may lose what it likes.

    `tests/unit/export` has all backends, and what is measured.
    """
    run_bench = bench.run_bench

    def one_round(checkpoint: Checkpoint, image_size: int = 256, **rest: Any) -> bench.BenchResult:
        return run_bench(checkpoint, min(image_size, SIDE), rounds=1, **rest)

    monkeypatch.setattr(bench, "run_bench", one_round)
    monkeypatch.setattr(bench, "_forms", lambda *_: ({}, ["the others: left out of this test"]))
    monkeypatch.setattr(
        export_run,
        "quantise_openvino",
        lambda network, _, size: export_run.to_openvino(network, (size, size)),
    )
    monkeypatch.setattr(AccuracyLoss, "is_small", True)


def missing_packages(block: Block) -> list[str]:
    """Extras that this block needs and that are not installed."""
    return [extra for extra in block.extras if not all(map(importlib.util.find_spec, EXTRAS[extra][1]))]


def run_line(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> int:
    """Carry out one line as a shell would: settings before it, `>` after it."""
    words = shlex.split(line, comments=True)
    with monkeypatch.context() as local:
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            name, _, value = words.pop(0).partition("=")
            local.setenv(name, value)
        target = None
        if ">" in words:
            place = words.index(">")
            target, words = words[place + 1], words[:place]
        if words[:3] == ["python", "-m", "samspl"]:
            words = ["samspl", *words[3:]]
        assert words[0] == "samspl", f"{line!r} is no command of ours; say before the block why it is not run"
        status = main(words[1:])
        if target:
            Path(target).write_text(capsys.readouterr().out)
    return status


def run_blocks(page: Path, found: list[Block], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> int:
    """Carry out the blocks of a page; returns how many were."""
    space: dict[str, Any] = {"__name__": "page"}
    ran, said, expects_output = 0, "", False
    for block in found:
        where = f"{page.name}:{block.line}"
        if block.title:
            Path(block.title).write_text(block.content)
        if expects_output and block.language == "text":
            wanted = " ".join(block.content.split())
            assert wanted in " ".join(said.split()), f"{where}: the command said {said!r}"
        expects_output = False
        if block.reason or missing_packages(block):
            continue
        if block.language == "python":
            exec(compile(block.content, where, "exec"), space)
            ran += 1
        elif block.language in COMMANDS:
            lines = block.commands()
            capsys.readouterr()
            for number, line in enumerate(lines, start=1):
                status = run_line(line, monkeypatch, capsys)
                output = capsys.readouterr()
                said = output.out + output.err
                expected = block.status if number == len(lines) else 0
                assert status == expected, f"{where}: {line!r} ended with {status}: {said}"
            expects_output = block.status != 0
            ran += 1
    return ran


@pytest.mark.parametrize("page", [p for p in pages() if p.name not in OWN_TEST], ids=lambda page: page.stem)
def test_commands_and_scripts_of_a_page_run_as_they_stand(
    page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = blocks(page)
    trains = any("samspl train" in block.content for block in found if not block.reason)
    if not (trains and importlib.util.find_spec("pytorch_lightning")):  # weights of an earlier day
        for prepared in (folder / "prepared").iterdir():
            shutil.copytree(prepared, folder / "runs" / "train" / prepared.name)
    runnable = [b for b in found if b.language in (*COMMANDS, "python") and not b.reason]
    ran = run_blocks(page, found, monkeypatch, capsys)
    left_out = [b for b in runnable if missing_packages(b)]
    assert ran + len(left_out) == len(runnable)
    if left_out:
        extras = ",".join(sorted({extra for block in left_out for extra in missing_packages(block)}))
        pytest.skip(f"{ran} blocks ran; {len(left_out)} of {page.name} need pip install 'samspl[{extras}]'")


def examples() -> list[tuple[str, str]]:
    """Command and the example of its `--help`, of every command and action."""

    def walk(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
        _, _, example = (parser.description or "").partition("Example: ")
        yield name, example
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child, own in action._name_parser_map.items():  # type: ignore[attr-defined]
                    yield from walk(f"{name} {child}", own)

    return list(walk("samspl", build_parser()))


@pytest.mark.parametrize(("command", "example"), examples(), ids=[name for name, _ in examples()])
def test_the_example_of_every_help_works(
    command: str,
    example: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert example.startswith(command), "the example shows another command"
    if "weights fetch" in example:
        pytest.skip("needs the network")
    if any(example in block.commands() for page in pages() for block in blocks(page) if not block.reason):
        return  # with its page
    block = Block("bash", None, example, 0, None, 0)
    if missing := missing_packages(block):
        pytest.skip(f"needs pip install 'samspl[{','.join(missing)}]'")
    if "samspl train" not in example:
        shutil.copytree(folder / "prepared", folder / "runs" / "train")
    status = run_line(example, monkeypatch, capsys)
    assert status == 0, capsys.readouterr().err


def test_a_command_that_fails_and_a_word_that_is_none_are_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder / "page.md"
    for line in ("samspl predict frames --nonsense", "samspl data check nowhere", "frobnicate frames"):
        page.write_text(f"```bash\n{line}\n```\n")
        with pytest.raises(AssertionError, match=re.escape(line)):
            run_blocks(page, blocks(page), monkeypatch, capsys)
    note = "<!-- ends with status 2 -->"
    page.write_text(f"{note}\n```bash\nsamspl predict none.png\n```\n\n```text\nno such words\n```\n")
    with pytest.raises(AssertionError, match="the command said"):
        run_blocks(page, blocks(page), monkeypatch, capsys)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_blocks_say_their_language_and_commands_stand_in_blocks(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    hidden = re.findall(r"^ {4,}(?:\$ )?(?:samspl|torchrun|python|pip|make) .*", prose(page), re.M)
    assert not hidden, "commands in indented blocks are not run; fence them"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_pictures_and_files_that_a_page_names_are_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(page)):
        if not link.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / link).exists(), link


def test_every_page_is_in_the_contents_of_the_site() -> None:
    def names(entry: Any) -> Iterator[str]:
        for value in entry if isinstance(entry, list) else entry.values():
            if isinstance(value, str):
                yield value
            else:
                yield from names(value)

    nav = tomllib.loads((PROJECT / "zensical.toml").read_text())["project"]["nav"]
    listed = list(names(nav))
    assert sorted(listed) == sorted(path.name for path in (PROJECT / "docs").glob("*.md"))
    assert listed[0] == "index.md"


def test_pages_can_be_followed_one_after_the_other_in_one_folder() -> None:
    """Drawing refuses a folder that is there, `predict` one with other results: the same run again is none."""
    written: dict[str, tuple[str, ...]] = {}
    for page in pages():
        for block in (b for b in blocks(page) if b.language in COMMANDS and b.status == 0 and not b.reason):
            for line in block.commands():
                words = re.sub(r" --(engine|workers|threads) \S+", "", line).split(" #")[0].split()
                if "--out" not in words:
                    continue
                run = (page.name, *words) if "synth" in words else tuple(words)
                before = written.setdefault(words[words.index("--out") + 1], run)
                assert before == run, (
                    f"{page.name}:{block.line}: {line!r} writes where {' '.join(before)!r} did"
                )


def test_pages_name_no_path_of_a_machine() -> None:
    for page in pages():
        assert not re.search(r"(?<![\w.])/(?:root|tmp|work|home)/", page.read_text(encoding="utf-8")), page
