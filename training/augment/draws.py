"""Draws by slice, from one generator on the host: a batch is a function of its seed, whatever device it is made on."""

import torch
from torch import Generator, Tensor

from training.recipe import Range

#: What "nothing" weighs in a group, where each change weighs 1: the default probability that it has, in the library
#: the authors used, while they set that of the changes to 1.
NOTHING_WEIGHS = 0.5


def uniform(count: int, span: Range, generator: Generator) -> Tensor:
    """[count], float32."""
    return span[0] + (span[1] - span[0]) * torch.rand(count, generator=generator)


def chosen(count: int, share: float, generator: Generator) -> Tensor:
    """True for a share of draws, bool [count]."""
    return torch.rand(count, generator=generator) < share


def one_of(count: int, changes: int, share: float, generator: Generator, *, nothing: bool) -> Tensor:
    """Which change of a group each slice gets: 1 to `changes`, 0 for none, int64 [count].

    `share` of the slices come to the group; with `nothing`, the group itself offers to leave a slice as it is.
    """
    weights = torch.ones(changes + 1)
    weights[0] = NOTHING_WEIGHS if nothing else 0.0
    picked = torch.multinomial(weights, count, replacement=True, generator=generator)
    return torch.where(chosen(count, share, generator), picked, 0)
