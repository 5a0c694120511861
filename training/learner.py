"""What is trained: the network, with heads beside it that only training knows, and how far it is from the truth.

Shapes: V windows, S slices, N = V * S, C = 6 classes, K = 5 kinds of bleed, h w of a feature map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS
from ichd.vision.network import CnnLstm
from ichd.vision.starting_point import start_from
from training.lessons.lesson import Lesson
from training.recipe import Loss, Optimisation, Recipe
from training.starting import starting_point_of

#: Prior probability of blood in a map's cell: a head that starts from zero would first unlearn its guess of one half.
_CELL_PRIOR = 0.02
_CELL_POSITIVE_WEIGHT = 3.0


class Learner(nn.Module):
    """The network with localisation heads on its feature maps, which training drops at the end.

    Raises:
        UserError: the recipe wants maps of a stride that the backbone does not have, or its `init` does not fit.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.network = CnnLstm(recipe.network)
        point = starting_point_of(recipe)
        if point is not None:
            start_from(self.network, point)
        strides = recipe.loss.localisation_strides
        by_stride = _stages(self.network.backbone) if strides else {}
        absent = sorted(set(strides) - set(by_stride))
        if absent:
            raise UserError(
                f"loss.localisation_strides names {absent[0]}, but the maps of {recipe.network.backbone} have strides "
                f"{', '.join(map(str, by_stride))}; choose from these"
            )
        self._stages = [by_stride[stride][0] for stride in strides]
        self.localisers = nn.ModuleList(_localiser(by_stride[stride][1]) for stride in strides)

    def forward(self, x_NCGG: Tensor, lengths_V: Tensor, gap_VS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits [V, S, 6] and localisation logits [N, K, h, w] of each stage; the arguments are a `Lesson`'s."""
        if self._stages:
            maps, stages = self.network.backbone.forward_intermediates(x_NCGG)
            located = [head(stages[stage]) for head, stage in zip(self.localisers, self._stages, strict=True)]
        else:
            maps, located = self.network.features(x_NCGG), []
        embeddings_VSF = self.network.pool(maps).reshape(*gap_VS.shape, -1)
        return self.network.classify(embeddings_VSF, lengths_V, gap_VS), located


@dataclass(frozen=True, kw_only=True)
class Losses:
    """How wrong one micro-batch was; tensors without axes."""

    total: Tensor
    slices: Tensor
    localisation: Tensor


def losses(answer: tuple[Tensor, list[Tensor]], lesson: Lesson, spec: Loss) -> Losses:
    """The slices' loss, under CutMix shared between both truths by area, and that of the places."""
    logits_VSC, maps = answer
    own = weighted_bce(logits_VSC, lesson.target_VSC, lesson.weight_VSC, spec)
    if lesson.mixed_with_N is not None:
        target, weight = (
            tensor.flatten(0, 1)[lesson.mixed_with_N].view_as(tensor)
            for tensor in (lesson.target_VSC, lesson.weight_VSC)
        )
        other = weighted_bce(logits_VSC, target, weight, spec)
        own = lesson.own_share * own + (1 - lesson.own_share) * other
    own = own + lesson.own_share * _somewhere(logits_VSC, lesson, spec)
    places = _localisation(maps, lesson.marks_NKgg) if lesson.marks_NKgg is not None else torch.zeros_like(own)
    return Losses(total=own + spec.localisation_weight * places, slices=own, localisation=places)


def weighted_bce(logits_VSC: Tensor, target_VSC: Tensor, weight_VSC: Tensor, spec: Loss) -> Tensor:
    """Binary cross-entropy, classes weighted, mean over the six: 7/6 of the weighted log loss (paper, loss).

    In fp32 whatever the network computes in; labels that count less pull less, unknown ones not at all.
    """
    each = functional.binary_cross_entropy_with_logits(logits_VSC.float(), target_VSC, reduction="none")
    class_weights = torch.tensor(spec.class_weights, device=each.device)
    return (each * weight_VSC * class_weights).sum() / weight_VSC.sum().clamp(min=1.0)


def _somewhere(logits_VSC: Tensor, lesson: Lesson, spec: Loss) -> Tensor:
    """Cross-entropy of the highest slice, for classes that a whole scan has without anyone knowing where."""
    padding = torch.arange(logits_VSC.shape[1], device=logits_VSC.device)[None, :] >= lesson.lengths_V[:, None]
    highest_VC = logits_VSC.float().masked_fill(padding[:, :, None], -torch.inf).amax(dim=1)
    class_weights = torch.tensor(spec.class_weights, device=highest_VC.device)
    each = functional.softplus(-highest_VC) * lesson.somewhere_VC * class_weights
    return each.sum() / (len(each) * len(spec.class_weights))


def _localisation(maps_NKhw: Sequence[Tensor], marks_NKgg: Tensor) -> Tensor:
    """Cross-entropy and Dice of blood's place, a map a stride; blood weighs more, because it is rare."""
    weight = torch.tensor(_CELL_POSITIVE_WEIGHT, device=marks_NKgg.device)
    each = []
    for logits in maps_NKhw:
        wide = logits.float()
        marks = functional.adaptive_max_pool2d(marks_NKgg, wide.shape[-2:])
        crossed = functional.binary_cross_entropy_with_logits(wide, marks, pos_weight=weight)
        shares = wide.sigmoid()
        both, either = (shares * marks).sum(dim=(0, 2, 3)), (shares + marks).sum(dim=(0, 2, 3))
        each.append(10 * crossed + (1 - (2 * both + 1) / (either + 1)).mean())
    return torch.stack(each).mean() if each else marks_NKgg.new_zeros(())


def parameter_groups(module: nn.Module, plan: Optimisation) -> list[dict[str, Any]]:
    """No weight decay on biases, the sequence model's included; on norms' weights as the recipe says."""
    plain: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        spared = "bias" in name or (parameter.ndim < 2 and not plan.decay_norms)
        (plain if spared else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": plan.weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _stages(backbone: Any) -> dict[int, tuple[int, int]]:
    """Index and channels of the feature maps, by stride."""
    return {part["reduction"]: (index, part["num_chs"]) for index, part in enumerate(backbone.feature_info)}


def _localiser(channels: int) -> nn.Conv2d:
    head = nn.Conv2d(channels, len(BLEED_KINDS), 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.constant_(cast(Tensor, head.bias), math.log(_CELL_PRIOR / (1 - _CELL_PRIOR)))
    return head
