"""The published CNN-LSTM's checkpoints as model bundles (paper, architecture).

What the authors' code saves is a dict {epoch, arch, state_dict, best_metric, optimizer}. Its CNN stands at the top
level: `layer0.conv1`, `layer0.bn1`, `layer1` to `layer4`, for both backbones. The SE-ResNeXt is the one that timm keeps
as `legacy_seresnext50_32x4d`: its stem pools without padding, rounding up, so that timm's newer one of the same shapes
looks at other pixels. The sequence model is `decoder.recurrent.*` and `decoder.fc.*`; the 2D form has `fc.*` instead.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from ichd.domain.errors import UserError
from ichd.vision.checkpoint import read_checkpoint, take
from ichd.vision.manifest import InputSpec, Manifest, Metric, NetworkSpec, RecurrentSpec, WeightsSpec
from ichd.vision.network import CnnLstm
from ichd.vision.window import PAPER_WINDOWS

#: The published backbones, by the names that the command line takes, as timm has them.
BACKBONES = {"resnet50": "resnet50", "seresnext50": "legacy_seresnext50_32x4d"}

INTENDED_USE = (
    "Research on the detection of intracranial haemorrhage in non-contrast head CT of adults. Not a medical device: "
    "neither calibrated nor given thresholds for any site, not for diagnosis, not for triage of patients."
)
TRAINING_DATA = (
    "RSNA Intracranial Hemorrhage Detection (2019), stage 1 training images, after ImageNet: so says the publication "
    "(Nguyen et al., MIDL 2020); nothing in the checkpoint proves it."
)
LICENCE = (
    "Weights trained on the RSNA 2019 data, whose terms allow non-commercial and academic use only. "
    "The authors' code is Apache-2.0; their file names no licence for the weights."
)
STATEMENT = "imported research weights, trained on non-commercial data, uncalibrated: not for clinical use"


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """What a checkpoint holds, in this package's names."""

    network: NetworkSpec
    #: fp32 or as stored, on the CPU, by the network's own keys.
    state_dict: Mapping[str, Tensor]
    #: What the file says about itself, by name: sha256, arch, epoch, best_metric.
    origin: Mapping[str, Metric]

    @property
    def parameters(self) -> tuple[int, int]:
        """Of the whole network, and of what follows the CNN; running statistics are no parameters."""
        with torch.device("meta"):
            network = CnnLstm(self.network)
        return (
            sum(p.numel() for p in network.parameters()),
            sum(p.numel() for p in network.decoder.parameters()),
        )


def read_published(path: Path, *, backbone: str = "auto") -> PublishedWeights:
    """The weights of a published checkpoint; `backbone` is "auto" (seen from the names) or one of `BACKBONES`.

    Raises:
        UserError: the file is no such checkpoint; the message names what differs and the mend.
    """
    given, rest = read_checkpoint(path)
    if not any(key.startswith("layer0.") for key in given):
        raise UserError(
            f"{path} has no layer0, so it is not of the published layout (it starts with {min(given)}); "
            "weights of ImageNet are imported with --format timm"
        )
    name = _seen_backbone(given) if backbone == "auto" else backbone
    recurrent = RecurrentSpec() if any(key.startswith("decoder.") for key in given) else None
    spec = NetworkSpec(backbone=BACKBONES[name], recurrent=recurrent)
    with torch.device("meta"):
        expected = CnnLstm(spec).state_dict()
    state_dict = take(
        given,
        expected,
        lambda key: _name_there(key, spec),
        where=f"{path} is not the published {'CNN-LSTM' if recurrent else 'CNN'} with {name}",
        mend="name the backbone that it was trained with by --backbone, or train again in the published layout",
    )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return PublishedWeights(network=spec, state_dict=state_dict, origin={"sha256": sha256} | _said_of_itself(rest))


def published_manifest(
    weights: PublishedWeights,
    *,
    channel_order: Sequence[str],
    name: str,
    version: str = "midl2020",
    licence: str = LICENCE,
    statement: str = STATEMENT,
) -> Manifest:
    """The bundle's manifest: the paper's input with its windows in `channel_order`, and no calibration.

    Means and deviations of ImageNet belong to the channels, whichever window each holds. Weights stay fp32: an import
    changes none of the published bits.

    Raises:
        UserError: `channel_order` is no order of the three windows, or a manifest can't hold one of the words.
    """
    by_name = {window.name: window for window in PAPER_WINDOWS}
    if sorted(channel_order) != sorted(by_name):
        raise UserError(
            f"--channel-order {','.join(channel_order)} is no order of the published windows; "
            f"give {', '.join(by_name)} once each, separated by commas"
        )
    try:
        return Manifest(
            name=name,
            version=version,
            architecture="cnn" if weights.network.recurrent is None else "cnn-lstm",
            network=weights.network,
            input=InputSpec(windows=tuple(by_name[window] for window in channel_order), quantise_bits=8),
            intended_use=INTENDED_USE,
            training_data=TRAINING_DATA,
            metrics={"checkpoint": dict(weights.origin)},
            licence=licence,
            statement=statement,
            weights=WeightsSpec(storage="fp32"),
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise UserError(f"--{problem['loc'][0]} can't be used: {problem['msg']}") from error


def _seen_backbone(given: Mapping[str, Tensor]) -> str:
    return "seresnext50" if any(".se_module." in key for key in given) else "resnet50"


def _name_there(key: str, spec: NetworkSpec) -> str:
    """Where the published checkpoint has what our network calls `key`."""
    part, _, rest = key.partition(".")
    if part == "decoder":
        return key if spec.recurrent else rest
    # The legacy SE-ResNeXt has a layer0 by itself, timm's ResNet has its stem at the top level.
    return rest if rest.startswith("layer") else f"layer0.{rest}"


def _said_of_itself(rest: Mapping[str, Any]) -> dict[str, Metric]:
    """Numbers and words of the checkpoint's maker; `best_metric` is a tensor of one number there."""
    said: dict[str, Metric] = {}
    for key in ("arch", "epoch", "best_metric"):
        value = rest.get(key)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value)):
            said[key] = value
    return said
