"""Where in a slice the network saw a class: class activation maps, in the geometry of the stored images.

Shapes: S slices, F features, K channels of a stage, h w its cells.

The logit of class c in slice i depends on the whole scan, but on slice i's pixels only through slice i's embedding: the
CNN sees every slice alone. So its gradient with respect to slice i's feature maps needs one forward pass of slice i and
a backward pass through the small sequence model and what follows the maps; the other slices enter as the embeddings
that are known already. That this is the very gradient of the whole network is tested, for any pooling.

The map is Grad-CAM (Selvaraju et al. 2017) with two changes, chosen by where they put known bleeds (docs/heat-maps.md).
It is taken before the last reduction of resolution, at cells of 16 pixels instead of 32. And a channel weighs what the
positive part of its gradient averages to, as in Grad-CAM++ (Chattopadhay et al. 2018): blood that fills a few cells is
not outvoted by the rest of the head, where the same channel would speak against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from ichd.domain.heatmap import HOTTEST, HeatMap
from ichd.vision.bundle import Bundle
from ichd.vision.engines.sequence import SequenceHead, gaps
from ichd.vision.manifest import InputSpec, Manifest
from ichd.vision.network import CnnLstm
from ichd.vision.preprocess import Point, crop_centre, prepare
from ichd.vision.scan import HeadScan, SourceImage, Upright

#: Pixels of the input.
LARGEST_CELL = 16


@dataclass(frozen=True, kw_only=True)
class SliceSeen:
    """One slice in the stage that is looked at."""

    #: [K, h, w], activations.
    cells_Khw: Tensor
    #: One [K, h, w] a class: the gradient of its logit in this slice.
    gradients_Khw: tuple[Tensor, ...]
    #: [1, F]
    embedding_1F: NDArray[np.float32]


class Attribution:
    """Explains what one bundle's network says. In fp32 torch on the CPU, whatever engine reads.

    A few slices a study are no work for a GPU, whose memory is the engine's; and the weights are those that the bundle
    holds anyway.

    Raises:
        UserError: the backbone has no feature maps that could be shown.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """

    def __init__(self, bundle: Bundle, *, largest_cell: int = LARGEST_CELL) -> None:
        """The deepest stage whose cells are at most `largest_cell` input pixels wide is looked at."""
        self._manifest = bundle.manifest
        self._network = bundle.network()
        self._stage: nn.Module = self._network.backbone.get_submodule(_stage(bundle.manifest, largest_cell))
        self._sequence = SequenceHead(self._network, bundle.manifest, torch.device("cpu"))

    def maps(
        self, scan: HeadScan, index: int, class_names: Sequence[str], embeddings_SF: NDArray[np.float32]
    ) -> tuple[HeatMap, ...]:
        """Heat maps of one slice: for each class, one a source image.

        `embeddings_SF` are those of the whole scan, by any engine of this bundle.
        """
        spec, spacing_mm = self._manifest.input, scan.pixel_spacing_mm
        centre = crop_centre(scan.hu_SHW, spacing_mm, spec)
        windows = prepare(scan.hu_SHW[index : index + 1], spacing_mm, spec, centre=centre)
        seen = self.look(windows, index, class_names, embeddings_SF, scan.z_mm)
        grid = Grid(scan.hu_SHW.shape[1:], spacing_mm, spec, centre)
        # What the model would say of a slice that has no neighbours.
        (alone_C,) = self._sequence.classify(seen.embedding_1F)
        heats = [_heat(seen.cells_Khw, gradient_Khw) for gradient_Khw in seen.gradients_Khw]
        return tuple(
            grid.map(heat_hw, scan.upright, source, name, float(alone_C[CLASSES.index(name)]))
            for name, heat_hw in zip(class_names, heats, strict=True)
            for source in scan.sources[index]
        )

    def look(
        self,
        windows_1CHW: Tensor,
        index: int,
        class_names: Sequence[str],
        embeddings_SF: NDArray[np.float32],
        z_mm: Sequence[float] | None = None,
    ) -> SliceSeen:
        """Slice `index` of a scan, as the network sees it.

        `windows_1CHW` is its input, `z_mm` the slices' positions as in `Engine.classify`.
        """
        seen: list[Tensor] = []

        def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            # What lies before needs no graph: nothing there requires a gradient.
            seen.append(output.detach().requires_grad_())
            return seen[0]

        hook = self._stage.register_forward_hook(cut)
        try:
            with torch.enable_grad():
                context_SF = torch.from_numpy(embeddings_SF)
                own_1F = self._network.embed(windows_1CHW)
                logits_SC = self._network.classify(
                    torch.cat([context_SF[:index], own_1F, context_SF[index + 1 :]]),
                    gap_mm=gaps(z_mm, len(embeddings_SF)),
                )
                gradients = tuple(
                    torch.autograd.grad(logits_SC[index, column], seen[0], retain_graph=True)[0][0]
                    for column in map(self._manifest.classes.index, class_names)
                )
        finally:
            hook.remove()
        return SliceSeen(cells_Khw=seen[0].detach()[0], gradients_Khw=gradients, embedding_1F=own_1F.detach().numpy())


def _stage(manifest: Manifest, largest_cell: int) -> str:
    """Name of the module whose output is looked at, as timm describes its backbones."""
    with torch.device("meta"), torch.no_grad():
        twin = CnnLstm(manifest.network).backbone.eval()
        described = getattr(twin, "feature_info", None) or ()
        stages = [stage for stage in described if stage.get("module") and stage["reduction"] <= largest_cell]
        if stages:
            stage = max(stages, key=lambda stage: stage["reduction"])
            outputs: list[object] = []
            twin.get_submodule(stage["module"]).register_forward_hook(lambda _m, _i, output: outputs.append(output))
            side = manifest.input.image_size
            twin.forward_features(torch.empty(1, manifest.network.in_channels, side, side))
            # Transformers describe stages, too: of tokens, or with their channels last. Others give lists of maps.
            maps = outputs[0] if outputs else None
            if isinstance(maps, Tensor) and maps.ndim == 4 and maps.shape[1] == stage["num_chs"]:
                return str(stage["module"])
    raise UserError(
        f"backbone {manifest.network.backbone!r} has no feature maps, so that no heat map can show what it saw"
    )


def _heat(cells_Khw: Tensor, gradient_Khw: Tensor) -> NDArray[np.uint8]:
    """The map [h, w], 0 to 255: channels by their positive weight, less what half of the cells have."""
    weights_K = gradient_Khw.clamp(min=0).mean(dim=(1, 2))
    heat_hw = torch.einsum("k,khw->hw", weights_K, cells_Khw)
    raised_hw = (heat_hw - heat_hw.median()).clamp(min=0)
    hottest = float(raised_hw.max())
    scaled_hw = raised_hw * (HOTTEST / hottest) if hottest > 0 else raised_hw
    return scaled_hw.round().numpy().astype(np.uint8)


class Grid:
    """Where the cells of a slice lie in its image, which they divide edge to edge as far as the network sees it."""

    def __init__(
        self, shape: tuple[int, ...], spacing_mm: tuple[float, float], spec: InputSpec, centre: Point | None
    ) -> None:
        """`shape`, `spacing_mm` and `centre` are those of the upright image, as in `ichd.vision.preprocess`."""
        self._shape = shape
        self._spacing_mm = spacing_mm
        if centre is None or spec.field_of_view_mm is None:
            self._sides = (float(shape[0]), float(shape[1]))
            self._centre = ((shape[0] - 1) / 2, (shape[1] - 1) / 2)
        else:
            self._sides = (spec.field_of_view_mm / spacing_mm[0], spec.field_of_view_mm / spacing_mm[1])
            self._centre = centre

    def map(
        self, heat_hw: NDArray[np.uint8], upright: Upright, source: SourceImage, name: str, alone: float
    ) -> HeatMap:
        """The map of an upright slice, turned back to how the source image is stored.

        The cells divide what the network sees edge to edge. Padding at strided layers may put a cell's own centre up to
        half a cell higher and further left; which of the two a trained network follows differs from one to the next.
        """
        rows, columns = heat_hw.shape
        pitch = (self._sides[0] / rows, self._sides[1] / columns)
        pitch_mm = (pitch[0] * self._spacing_mm[0], pitch[1] * self._spacing_mm[1])
        first = tuple(c - (n - 1) / 2 * p for c, n, p in zip(self._centre, (rows, columns), pitch, strict=True))
        if upright.flipped_rows:
            first = (self._shape[0] - 1 - (first[0] + (rows - 1) * pitch[0]), first[1])
        if upright.flipped_columns:
            first = (first[0], self._shape[1] - 1 - (first[1] + (columns - 1) * pitch[1]))
        stored_hw = heat_hw[:: -1 if upright.flipped_rows else 1, :: -1 if upright.flipped_columns else 1]
        if upright.transposed:
            stored_hw, first, pitch, pitch_mm = stored_hw.T, first[::-1], pitch[::-1], pitch_mm[::-1]
        return HeatMap(
            sop_instance_uid=source.sop_instance_uid,
            frame_number=source.frame_number,
            class_name=name,
            cells=tuple(row.tobytes() for row in stored_hw),
            first_cell=(first[0], first[1]),
            cell_pitch=pitch,
            cell_mm=pitch_mm,
            probability_alone=alone,
        )
