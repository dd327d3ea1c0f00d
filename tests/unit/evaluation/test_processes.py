import pytest

from samspl.errors import DatasetError
from samspl.evaluation.processes import Processes


def test_one_process_without_torchrun_and_what_torchrun_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.of_environment() == Processes(0, 1, 0)
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert Processes.of_environment() == Processes(5, 8, 1)


@pytest.mark.parametrize(("images", "count"), [(0, 2), (1, 2), (7, 2), (7, 3), (2, 5)])
def test_every_image_belongs_to_exactly_one_process(images: int, count: int) -> None:
    shares = [Processes(rank, count).share(images) for rank in range(count)]
    assert sorted(index for share in shares for index in share) == list(range(images))


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [Processes(r, 6, r % 4).device("auto") for r in (0, 3, 5)] == ["cuda:0", "cuda:3", "cuda:1"]
    assert Processes(1, 2, 1).device("cpu") == "cpu"
    assert Processes(0, 1, 0).device("auto") == "auto"


def test_one_process_gathers_its_own_part_and_raises_its_own_error() -> None:
    assert Processes().gather(lambda: "part") == ["part"]

    def fail() -> None:
        raise DatasetError("no images")

    with pytest.raises(DatasetError, match="no images"):
        Processes().gather(fail)
