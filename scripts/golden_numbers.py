"""The values in golden files of tensors; tests/io/golden_numbers.h repeats them."""

import torch

SHAPE = (2, 3, 5)


def numbers(dtype):
    """Value i is ((37 i) mod 101 - 50) / 8, exact in every floating type; without the 1/8 for integers, the 50 for bytes."""
    i = torch.arange(30, dtype=torch.int64)
    if dtype == torch.bool:
        values = i % 3 == 0
    elif dtype == torch.uint8:
        values = 37 * i % 101
    elif dtype.is_floating_point:
        values = (37 * i % 101 - 50) / 8
    else:
        values = 37 * i % 101 - 50
    return values.to(dtype).reshape(SHAPE)
