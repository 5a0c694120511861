"""The network: a CNN that sees one slice at a time, then an LSTM over the slices of a scan (paper, architecture).

Shapes: N images, S slices of a scan, B scans, C channels, H W pixels, F features, 6 classes.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.vision.manifest import NetworkSpec, RecurrentSpec

#: A usual distance of slices, by which gaps are measured; what is farther than four of them is equally far.
_USUAL_GAP_MM, _FARTHEST = 5.0, 4.0


class SequenceDecoder(nn.Module):
    """LSTM over the slices, then a linear layer a slice: 16,799,750 parameters in the paper's form.

    A manifest may ask for a GRU, and for more to be seen of each slice: what it differs by from its neighbours, and how
    far the one below is.
    """

    def __init__(self, features: int, recurrent: RecurrentSpec, classes: int) -> None:
        super().__init__()
        self._deltas, self._z_gap = recurrent.deltas, recurrent.z_gap
        cell = nn.LSTM if recurrent.cell == "lstm" else nn.GRU
        self.recurrent = cell(
            features * (3 if recurrent.deltas else 1) + int(recurrent.z_gap),
            recurrent.hidden,
            num_layers=recurrent.layers,
            bidirectional=recurrent.bidirectional,
            dropout=recurrent.dropout,
            batch_first=True,
        )
        self.fc = nn.Linear(recurrent.hidden * (2 if recurrent.bidirectional else 1), classes)
        nn.init.zeros_(self.fc.bias)

    def forward(
        self, embeddings_BSF: Tensor, lengths_B: Tensor | None = None, gap_mm_BS: Tensor | None = None
    ) -> Tensor:
        """Logits [B, S, 6]; rows past a scan's length are those of padding and mean nothing."""
        seen = self._with_more(embeddings_BSF, lengths_B, gap_mm_BS)
        if lengths_B is None:
            return self._fc(self.recurrent(seen)[0])
        packed = pack_padded_sequence(seen, lengths_B.cpu(), batch_first=True, enforce_sorted=False)
        states_BSH, _ = pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=embeddings_BSF.shape[1]
        )
        return self._fc(states_BSH)

    def _with_more(self, embeddings_BSF: Tensor, lengths_B: Tensor | None, gap_mm_BS: Tensor | None) -> Tensor:
        seen = [embeddings_BSF]
        if self._deltas:
            step = embeddings_BSF[:, 1:] - embeddings_BSF[:, :-1]
            if lengths_B is not None:
                # Past the last slice is padding, which differs from nothing.
                places = torch.arange(1, embeddings_BSF.shape[1], device=step.device)
                step = step * (places < lengths_B.to(step.device)[:, None])[:, :, None]
            # From below, then from above: the first slice has nothing below it, the last nothing above.
            seen += [functional.pad(step, (0, 0, 1, 0)), functional.pad(-step, (0, 0, 0, 1))]
        if self._z_gap:
            if gap_mm_BS is None:
                raise ValueError("this network reads how far apart slices are; give gap_mm")
            seen.append((gap_mm_BS / _USUAL_GAP_MM).clamp(0, _FARTHEST).to(embeddings_BSF.dtype)[:, :, None])
        return torch.cat(seen, dim=2) if len(seen) > 1 else embeddings_BSF

    def _fc(self, states: Tensor) -> Tensor:
        logits: Tensor = self.fc(states)
        return logits


class SliceDecoder(nn.Module):
    """The 2D baseline: every slice by itself."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, classes)
        nn.init.zeros_(self.fc.bias)

    def forward(
        self,
        embeddings_BSF: Tensor,
        lengths_B: Tensor | None = None,  # noqa: ARG002
        gap_mm_BS: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """Logits [B, S, 6]."""
        logits: Tensor = self.fc(embeddings_BSF)
        return logits


class CnnLstm(nn.Module):
    """Windows of slices in, logits a slice out, in two steps: `embed` needs one slice, `classify` the whole scan.

    Weights are random: a bundle, a checkpoint or training fills them. State keys are `backbone.*` (timm's own),
    `decoder.recurrent.*` and `decoder.fc.*` (the published checkpoint's).

    Raises:
        Permanent: MODEL_UNUSABLE, timm has no such backbone or pooling.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = _backbone(spec)
        #: Width of an embedding, F.
        self.features_out = _embedding_width(spec)
        self.decoder: SequenceDecoder | SliceDecoder = (
            SliceDecoder(self.features_out, spec.classes)
            if spec.recurrent is None
            else SequenceDecoder(self.features_out, spec.recurrent, spec.classes)
        )

    def features(self, x_NCHW: Tensor) -> Tensor:
        """Feature maps [N, C, h, w] before pooling, of a convolutional backbone."""
        maps: Tensor = self.backbone.forward_features(x_NCHW)
        return maps

    def pool(self, maps_NChw: Tensor) -> Tensor:
        """Embeddings [N, F] of feature maps."""
        embeddings: Tensor = self.backbone.forward_head(maps_NChw, pre_logits=True)
        return embeddings

    def embed(self, x_NCHW: Tensor) -> Tensor:
        """Embeddings [N, F] of windowed, normalised slices."""
        return self.pool(self.features(x_NCHW))

    def classify(self, embeddings: Tensor, lengths_B: Tensor | None = None, gap_mm: Tensor | None = None) -> Tensor:
        """Logits a slice: [S, F] gives [S, 6], a padded batch [B, S, F] gives [B, S, 6].

        `lengths_B` are the scans' true lengths, each at least 1; padding then never reaches a scan's own slices.
        Slices are in order, inferior first. `gap_mm` [S] or [B, S] is each slice's distance to the one below, 0 for the
        first; a network whose manifest says `z_gap` needs it, others don't look at it.
        """
        if embeddings.ndim == 2:
            gap_mm_1S = None if gap_mm is None else gap_mm.unsqueeze(0)
            logits: Tensor = self.decoder(embeddings.unsqueeze(0), None, gap_mm_1S).squeeze(0)
            return logits
        batch: Tensor = self.decoder(embeddings, lengths_B, gap_mm)
        return batch

    def forward(self, x_SCHW: Tensor) -> Tensor:
        """Logits [S, 6] of one scan's slices."""
        return self.classify(self.embed(x_SCHW))


def _backbone(spec: NetworkSpec) -> Any:
    """timm's model without its classifier; never downloads.

    timm answers an unknown name with RuntimeError and an impossible pooling with AssertionError.
    """
    try:
        return timm.create_model(
            spec.backbone,
            pretrained=False,
            num_classes=0,
            global_pool=spec.global_pool,
            in_chans=spec.in_channels,
        )
    except (RuntimeError, AssertionError, ValueError) as error:
        raise Permanent(
            Reason.MODEL_UNUSABLE,
            f"backbone {spec.backbone!r} with pooling {spec.global_pool!r}: {error}; name one that timm "
            f"{timm.__version__} has",
        ) from error


def _embedding_width(spec: NetworkSpec) -> int:
    """F, seen by sending shapes alone through a twin on the meta device.

    timm's attributes don't tell it for every family (a head may convolve after pooling), and meta tensors cost nothing.
    """
    with torch.device("meta"), torch.no_grad():
        twin = _backbone(spec).eval()
        height, width = twin.default_cfg["input_size"][1:]
        maps = twin.forward_features(torch.empty(1, spec.in_channels, height, width))
        return int(twin.forward_head(maps, pre_logits=True).shape[1])
