"""Weights of a backbone alone, to start training from: ImageNet's, from a file, because nothing here downloads.

A starting point is one safetensors file that names its backbone. It is no bundle on purpose: it reads no image, has no
classes, and nothing that looks for a model can take it for one.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ichd.domain.errors import UserError
from ichd.vision.checkpoint import read_checkpoint, take
from ichd.vision.manifest import NetworkSpec
from ichd.vision.network import CnnLstm

#: In the file's metadata, and which form it has.
_FORM_KEY, _FORM = "ichd", "starting point 1"
#: How files call a classifier, beside timm's own word for it: torchvision's and Cadene's.
_CLASSIFIERS = ("fc", "last_linear")


@dataclass(frozen=True, kw_only=True)
class StartingPoint:
    """A trained backbone without a task."""

    #: timm's name of the architecture, without the tag of a weight's origin.
    backbone: str
    #: By timm's own names, without the classifier.
    state_dict: Mapping[str, Tensor]
    #: sha256 of the file that it was imported from.
    source_sha256: str


def import_backbone(path: Path, backbone: str) -> StartingPoint:
    """A backbone's weights as timm or torchvision name them; the classifier is left behind.

    Raises:
        UserError: timm has no such backbone, or the file can't be read, or does not hold it; names what differs.
    """
    architecture = _architecture(backbone)
    if not timm.is_model(architecture):
        raise UserError(f"--backbone {backbone!r} is none that timm {timm.__version__} has; name one of timm's")
    empty = _empty_backbone(architecture)
    given, _ = read_checkpoint(path)
    own = empty.default_cfg.get("classifier") or ()
    classifiers = {*_CLASSIFIERS, *([own] if isinstance(own, str) else own)}
    expected = empty.state_dict()
    kept = {
        key: tensor
        for key, tensor in given.items()
        if key in expected or not any(key.startswith(f"{name}.") for name in classifiers)
    }
    state_dict = take(
        kept,
        expected,
        lambda key: key,
        where=f"{path} is not timm's {architecture}",
        mend="name the backbone that the file holds by --backbone",
    )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return StartingPoint(backbone=architecture, state_dict=state_dict, source_sha256=sha256)


def fetch_backbone(name: str) -> StartingPoint:
    """The weights that timm itself knows by this name, as "resnet50.tv_in1k": from its cache, else from the network.

    Raises:
        UserError: timm has no such weights, or they can't be had from here; the message names the mend.
    """
    architecture = _architecture(name)
    if not timm.is_model(architecture):
        raise UserError(f"{name!r} is none of the backbones that timm {timm.__version__} has; name one of timm's")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError, ValueError, httpx.HTTPError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"the weights {name!r} can't be fetched ({reason}); fetch the file on a machine with a network, import it "
            "with `ichd model import --format timm`, and name it with --init"
        ) from error
    state_dict = {key: tensor.detach() for key, tensor in model.state_dict().items()}
    digest = hashlib.sha256()
    for key, tensor in sorted(state_dict.items()):
        digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    return StartingPoint(backbone=architecture, state_dict=state_dict, source_sha256=digest.hexdigest())


def save_starting_point(path: Path, point: StartingPoint) -> None:
    """Write it as one safetensors file; creates the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: tensor.contiguous().clone() for key, tensor in point.state_dict.items()},
        path,
        metadata={_FORM_KEY: _FORM, "backbone": point.backbone, "source_sha256": point.source_sha256},
    )


def load_starting_point(path: Path) -> StartingPoint:
    """Read what `save_starting_point` wrote.

    Raises:
        UserError: there is none at `path`.
    """
    mend = "write one with `ichd model import --format timm`"
    if not path.is_file():
        raise UserError(f"{path} is not a file that exists; {mend}")
    try:
        with safe_open(str(path), framework="pt") as file:
            said: dict[str, str] = file.metadata() or {}
            state_dict = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict, though it looks it
    except SafetensorError as error:
        raise UserError(f"{path} is no whole safetensors file ({error}); {mend}") from error
    if said.get(_FORM_KEY) != _FORM:
        raise UserError(f"{path} does not say that it is a starting point of training; {mend}")
    return StartingPoint(backbone=said["backbone"], state_dict=state_dict, source_sha256=said["source_sha256"])


def start_from(network: CnnLstm, point: StartingPoint) -> None:
    """Give a network's backbone the weights of a starting point; its decoder stays as it is.

    Raises:
        UserError: they are another backbone's, or the network has another number of channels.
    """
    spec = network.spec
    if _architecture(spec.backbone) != point.backbone:
        raise UserError(f"the starting point is a {point.backbone}, the network a {spec.backbone}; make them agree")
    network.backbone.load_state_dict(
        take(
            point.state_dict,
            network.backbone.state_dict(),
            lambda key: key,
            where=f"the starting point does not fit {spec.backbone} with {spec.in_channels} channels",
            mend="import it anew, or train with three windows",
        )
    )


def _architecture(backbone: str) -> str:
    """ "resnet50.a1_in1k" is resnet50 with certain weights; which weights they are is the file's business."""
    return backbone.partition(".")[0]


def _empty_backbone(architecture: str) -> Any:
    """timm's model, without memory for its weights."""
    with torch.device("meta"):
        return CnnLstm(NetworkSpec(backbone=architecture, recurrent=None)).backbone
