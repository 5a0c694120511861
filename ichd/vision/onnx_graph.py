"""A bundle as one ONNX graph: HU on the model's grid in, calibrated probabilities out.

Windows, normalisation, CNN, sequence model and calibration are inside, so that whoever runs it can't do them otherwise.
Bringing images onto the grid stays outside: orientation and the crop around a head are no arithmetic of tensors.

Shapes: S slices of one whole scan, inferior first, G = `input.image_size`, 6 classes.
"""

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.vision.bundle import Bundle
from ichd.vision.engines.runtime import CPU_PLUGIN, openvino_core
from ichd.vision.engines.sequence import OutputCalibration
from ichd.vision.manifest import Manifest
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import normalise

INPUT_NAME, OUTPUT_NAME = "hu", "probabilities"
#: What onnxruntime and OpenVINO of the last three years read.
_OPSET = 17
#: Slices in the example that is traced; any number may come at run time.
_TRACED_SLICES = 2


class ScanGraph(nn.Module):
    """HU [S, G, G] of a scan, float32, to calibrated probabilities [S, 6] in the order of `CLASSES`."""

    order: Tensor
    scale_C: Tensor
    bias_C: Tensor

    def __init__(self, network: CnnLstm, manifest: Manifest) -> None:
        super().__init__()
        self._network = network
        self._input = manifest.input
        calibration = OutputCalibration.of(manifest)
        self.register_buffer("order", torch.tensor(calibration.order))
        self.register_buffer("scale_C", torch.tensor(calibration.scales))
        self.register_buffer("bias_C", torch.tensor(calibration.biases))

    def forward(self, hu_SGG: Tensor) -> Tensor:
        """As the class says."""
        logits_SC = self._network(normalise(hu_SGG, self._input)).index_select(1, self.order)
        return torch.sigmoid(logits_SC * self.scale_C + self.bias_C)


def write_onnx(bundle: Bundle, path: Path) -> None:
    """Write the graph, with the manifest and what a user of it must know as metadata.

    By torch's older exporter, tracing: it writes the LSTM as one operator over any number of slices. The newer one
    (torch 2.14) unrolls it for the traced number, or writes a loop that onnxruntime refuses.

    Raises:
        UserError: the package onnx is not installed.
    """
    if find_spec("onnx") is None:
        raise UserError("the package onnx is not installed; run `pip install 'ichd[onnx]'`")
    import onnx

    manifest = bundle.manifest
    if manifest.network.recurrent is not None and manifest.network.recurrent.z_gap:
        raise UserError(
            f"{manifest.name} reads how far apart slices are, which the graph has no input for; it stays here"
        )
    graph = ScanGraph(bundle.network(), manifest).eval()
    size = manifest.input.image_size
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript-based ONNX export")
        warnings.filterwarnings("ignore", message="The feature will be removed", module=r"torch\.onnx\.")
        # The LSTM's batch is one scan, always; the checks of its shapes are the same for every number of slices.
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size other than 1")
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")
        torch.onnx.export(
            graph,
            (torch.zeros(_TRACED_SLICES, size, size),),
            path,
            dynamo=False,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes={INPUT_NAME: {0: "slices"}, OUTPUT_NAME: {0: "slices"}},
            opset_version=_OPSET,
        )
    model = onnx.load(path)
    for key, value in _metadata(bundle).items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())


def compare_runtimes(bundle: Bundle, path: Path, scans: Sequence[NDArray[np.float32]]) -> dict[str, float]:
    """By runtime, OpenVINO and onnxruntime where it is installed: the largest difference of a probability from torch's.

    All in fp32. Scans are HU [S, G, G]; their lengths should differ, because the graph was traced with one. `path` ends
    in .onnx, by which OpenVINO knows the format.
    """
    graph = ScanGraph(bundle.network(), bundle.manifest).eval()
    with torch.inference_mode():
        expected = [graph(torch.from_numpy(hu)).numpy() for hu in scans]
    compiled = openvino_core().compile_model(str(path), CPU_PLUGIN, {"INFERENCE_PRECISION_HINT": "f32"})
    found = {"openvino": _largest(expected, [compiled({INPUT_NAME: hu})[OUTPUT_NAME] for hu in scans])}
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found["onnxruntime"] = _largest(expected, [session.run(None, {INPUT_NAME: hu})[0] for hu in scans])
    return found


def _largest(expected: Sequence[NDArray[np.float32]], actual: Sequence[NDArray[np.float32]]) -> float:
    return max(float(np.abs(one - other).max()) for one, other in zip(expected, actual, strict=True))


def _metadata(bundle: Bundle) -> dict[str, str]:
    """What whoever runs the graph without this package must know; all of it stands in `manifest` as well."""
    manifest, spec = bundle.manifest, bundle.manifest.input
    size = spec.image_size
    covers = (
        "the whole image, resized with antialiasing"
        if spec.field_of_view_mm is None
        else f"a square of {spec.field_of_view_mm:g} mm around the head's centre, outside of the image -1024"
    )
    return {
        "name": manifest.name,
        "version": manifest.version,
        "weights_sha256": bundle.identity.weights_sha256,
        "bundle_sha256": bundle.identity.bundle_sha256,
        "statement": manifest.statement,
        "intended_use": manifest.intended_use,
        "licence": manifest.licence,
        "input": (
            f"Hounsfield units, float32 [slices, {size}, {size}]: the axial slices of one whole scan, inferior first, "
            f"seen from the feet, anterior at the top; each {covers}"
        ),
        "output": "probabilities, float32 [slices, 6]: calibrated, in the order of classes",
        "classes": json.dumps(CLASSES),
        "manifest": manifest.to_json(),
    }
