"""Model bundles: a folder with `model.json` and `weights.safetensors`, tied together by the weights' sha256.

Weights are stored as fp32, fp16, or int8 with one scale an output channel, and are fp32 once loaded. Vectors (biases,
norms and their running statistics) always stay fp32: they are a hundredth of the size, and running variances leave the
range of fp16.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ichd.domain.errors import Permanent
from ichd.domain.finding import ModelIdentity, ReadingRule
from ichd.domain.reason import Reason
from ichd.vision.checkpoint import differences
from ichd.vision.manifest import MANIFEST_NAME, Manifest, WeightsSpec, read_manifest
from ichd.vision.network import CnnLstm
from ichd.vision.shelf import demo_bundle, find_bundle, list_bundles

__all__ = ["Bundle", "demo_bundle", "find_bundle", "list_bundles", "load_bundle", "save_bundle"]

WEIGHTS_NAME = "weights.safetensors"

#: Beside an int8 tensor `k` stands its fp32 scale `k` + this; no parameter name holds a colon.
_SCALE_SUFFIX = ":scale"
_FP16_MAX = torch.finfo(torch.float16).max


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model, ready to become a network."""

    folder: Path
    manifest: Manifest
    #: fp32 on the CPU, by the network's own keys.
    state_dict: Mapping[str, Tensor]

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is, to the bit."""
        return self.manifest.identity

    @property
    def rule(self) -> ReadingRule:
        """How its probabilities become a finding."""
        return self.manifest.rule

    def network(self) -> CnnLstm:
        """The network with its weights, in evaluation mode, on the CPU; it shares memory with `state_dict`.

        Raises:
            Permanent: MODEL_UNUSABLE, an unknown backbone, or weights that are not this network's.
        """
        # Random initialisation of weights that are replaced at once would cost more than all the rest: build without.
        with torch.device("meta"):
            network = CnnLstm(self.manifest.network)
        _check_shapes(network.state_dict(), self.state_dict, self.folder)
        network.load_state_dict(dict(self.state_dict), assign=True)
        if any(buffer.is_meta for buffer in network.buffers()):
            # A backbone that computes buffers and does not store them (some transformers) has to be built for real.
            network = CnnLstm(self.manifest.network)
            network.load_state_dict(dict(self.state_dict))
        return network.eval().requires_grad_(False)


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle: manifest, hash, storage; shapes are checked by `Bundle.network`.

    Raises:
        UserError: there is no bundle at `folder`.
        Permanent: MODEL_UNUSABLE, with what is wrong and the mend.
    """
    manifest = read_manifest(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise Permanent(Reason.MODEL_UNUSABLE, f"{path} is missing; copy the whole folder of the bundle again")
    content = path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != manifest.weights.sha256:
        raise Permanent(
            Reason.MODEL_UNUSABLE,
            f"{path} has sha256 {sha256} but {MANIFEST_NAME} names {manifest.weights.sha256 or 'none'}; "
            "the weights were changed or damaged, copy the whole bundle again",
        )
    try:
        stored = load(content)
    except SafetensorError as error:
        raise Permanent(Reason.MODEL_UNUSABLE, f"{path}: {error}; export the bundle again") from error
    return Bundle(folder=folder, manifest=manifest, state_dict=_unpack(stored, path))


def save_bundle(folder: Path, manifest: Manifest, state_dict: Mapping[str, Tensor]) -> Manifest:
    """Write a bundle and return its manifest with the weights' sha256; the same input gives the same bytes.

    Creates `folder`. Storage is `manifest.weights.storage`.

    Raises:
        Permanent: MODEL_UNUSABLE, the weights are not those of `manifest.network`, or can't be stored like this.
    """
    with torch.device("meta"):
        expected = CnnLstm(manifest.network).state_dict()
    _check_shapes(expected, state_dict, folder)
    content = save(_pack(state_dict, manifest.weights.storage))
    sha256 = hashlib.sha256(content).hexdigest()
    finished = manifest.model_copy(update={"weights": WeightsSpec(storage=manifest.weights.storage, sha256=sha256)})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_NAME).write_bytes(content)
    (folder / MANIFEST_NAME).write_text(finished.to_json(), encoding="utf-8")
    return finished


def _check_shapes(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], folder: Path) -> None:
    problems = differences(expected, given)
    if problems:
        raise Permanent(
            Reason.MODEL_UNUSABLE,
            f"{folder}: weights don't fit the network of {MANIFEST_NAME} ({problems}); "
            "correct network in the manifest or export the bundle again",
        )


def _pack(state_dict: Mapping[str, Tensor], storage: str) -> dict[str, Tensor]:
    packed: dict[str, Tensor] = {}
    for key, given in state_dict.items():
        tensor = given.detach().cpu().contiguous()
        if not tensor.is_floating_point():
            packed[key] = tensor
            continue
        tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise Permanent(Reason.MODEL_UNUSABLE, f"{key} holds values that are not finite; train again")
        if tensor.ndim < 2 or storage == "fp32":
            packed[key] = tensor
        elif storage == "fp16":
            if tensor.abs().max() > _FP16_MAX:
                raise Permanent(Reason.MODEL_UNUSABLE, f"{key} leaves the range of fp16; store it as fp32")
            packed[key] = tensor.half()
        else:
            packed[key], packed[key + _SCALE_SUFFIX] = _quantise(tensor)
    # Memory shared between parameters would be refused by safetensors; bundles hold each one's own copy.
    return {key: tensor.clone() for key, tensor in sorted(packed.items())}


def _quantise(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the tensor's shape, and the fp32 scale of each output channel (first axis): value = int8 * scale."""
    rows = tensor.flatten(1)
    scale = (rows.abs().amax(dim=1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
    quantised = (rows / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
    return quantised.reshape(tensor.shape), scale


def _unpack(stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    unpacked: dict[str, Tensor] = {}
    for key, tensor in stored.items():
        if key.endswith(_SCALE_SUFFIX):
            continue
        if tensor.dtype == torch.int8:
            scale = stored.get(key + _SCALE_SUFFIX)
            if scale is None or scale.shape != tensor.shape[:1]:
                raise Permanent(Reason.MODEL_UNUSABLE, f"{path}: {key} lacks its scale; export the bundle again")
            unpacked[key] = tensor.float() * scale.reshape(-1, *[1] * (tensor.ndim - 1))
        else:
            unpacked[key] = tensor.float() if tensor.is_floating_point() else tensor
    return unpacked
