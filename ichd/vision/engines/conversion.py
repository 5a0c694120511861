"""A bundle's CNN as an OpenVINO model: Hounsfield units on the model's grid in, embeddings out, one slice at a time.

Windows and standardisation are part of the graph: OpenVINO fuses them into one pass over the slice, and keeps that part
and the final pooling in fp32 whatever the precision of the convolutions.
"""

import hashlib
from pathlib import Path

import openvino as ov
import timm
import torch
from openvino.frontend import OpConversionFailure
from torch import Tensor, nn

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle
from ichd.vision.engines.provenance import code_digest
from ichd.vision.manifest import InputSpec
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import normalise

MODEL_NAME = "model.xml"


class Embedder(nn.Module):
    """HU [N, G, G] on the model's grid to embeddings [N, F]."""

    def __init__(self, network: CnnLstm, spec: InputSpec) -> None:
        super().__init__()
        self._network = network
        self._spec = spec

    def forward(self, hu_NGG: Tensor) -> Tensor:
        """Embeddings [N, F]."""
        return self._network.embed(normalise(hu_NGG, self._spec))


def conversion_key(bundle: Bundle) -> str:
    """Digits over all that the converted model depends on."""
    parts = (bundle.identity.bundle_sha256, ov.__version__, torch.__version__, timm.__version__, code_digest())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def convert(bundle: Bundle) -> ov.Model:
    """The model in fp32, with a fixed input of one slice [1, G, G].

    One, because a slice's bits must not depend on those beside it; a processor of few cores gains nothing from more.

    Raises:
        UserError: OpenVINO lacks an operation of this backbone.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """
    size = bundle.manifest.input.image_size
    embedder = Embedder(bundle.network(), bundle.manifest.input).eval()
    # inference_mode would leave tensors that export may not trace.
    with torch.no_grad():
        exported = torch.export.export(embedder, (torch.zeros(1, size, size),), strict=False)
    try:
        model = ov.convert_model(exported)
    except OpConversionFailure as error:
        raise UserError(
            f"OpenVINO {ov.__version__} can't run backbone {bundle.manifest.network.backbone!r}; "
            'set model.engine = "torch"'
        ) from error
    model.reshape([1, size, size])
    return model


def save_converted(model: ov.Model, folder: Path) -> None:
    """Write `MODEL_NAME` and its weights."""
    # fp16 would round the weights of an fp32 engine.
    ov.save_model(model, folder / MODEL_NAME, compress_to_fp16=False)
