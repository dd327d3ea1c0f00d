"""Windows: cut, put together, and where the border cuts them."""

import torch

from samspl.models.windows import Strip, merge, partition, whole_and_rest


def test_partition_goes_row_by_row():
    x = torch.arange(16).reshape(1, 4, 4, 1)
    assert partition(x, (2, 2))[:, :, 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]


def test_merge_is_the_inverse_of_partition():
    x = torch.randn(2, 6, 8, 3)
    assert torch.equal(merge(partition(x, (3, 2)), (3, 2), (6, 8)), x)


def test_whole_windows_and_the_one_cut_short():
    assert whole_and_rest(8, 4) == [Strip(0, 8, 4, 4)]
    assert whole_and_rest(16, 14) == [Strip(0, 14, 14, 14), Strip(14, 16, 2, 14)]
    assert whole_and_rest(4, 14) == [Strip(0, 4, 4, 14)]
