"""The sequence model once more, on embeddings that no longer change: whole scans, for a small part of the cost.

The CNN has learnt from windows of a few slices, and its sequence model with it. What whole scans teach is learnt here:
each scan is embedded once, plain, and kept on disk; an epoch over all of them then takes minutes.

Shapes: V scans, S slices of the longest, F features, C = 6 classes.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ichd.vision.network import CnnLstm
from training.learner import Learner
from training.lessons.course import MicroBatch
from training.lessons.lesson import Lesson
from training.lessons.source import Source
from training.loop import Fitted, Hear, Run, fit
from training.material import Material
from training.reading import embed
from training.recipe import Loss, Optimisation, Recipe
from training.validate import validate

_FOLDER = "embeddings"
#: Longer scans are averaged to this many slices before they get here (`ichd.vision.scan.MAX_SLICES`).
_LONGEST = 400


def refine(
    recipe: Recipe,
    network: CnnLstm,
    material: Material,
    out: Path,
    fabric: Fabric,
    *,
    hear: Hear = lambda _line: None,
    on_embedded: Callable[[int, int], None] = lambda _done, _all: None,
) -> Fitted:
    """The network with its sequence model trained on from where it is, or as it was where that is no better.

    The backbone stays as it is. Nothing was chosen where it is as it was.

    Raises:
        Interrupted, Diverged, UserError: as `fit`.
    """
    folder = out / "second_stage"
    folder.mkdir(exist_ok=True)
    network = network.to(fabric.device)
    sources: list[EmbeddedSource | None] = []
    for name, source in (("learn", material.learn), ("select", material.select)):
        if source is not None:
            embedded = EmbeddedSource(folder / _FOLDER / name, len(source))
            embedded.fill(network, source, recipe, fabric, on_embedded)
            sources.append(embedded)
        else:
            sources.append(None)
    learn, select = sources
    assert learn is not None  # noqa: S101 - what is learnt from is always there
    plan = _plan(recipe)
    before = copy.deepcopy(network.decoder)
    run = Run(recipe=plan, learn=learn, select=select, folder=folder, make=lambda _recipe: SequenceLearner(network))
    refined = fit(run, fabric, hear=hear)
    if select is None:
        return refined
    refined.network.to(fabric.device)
    as_it_was = copy.deepcopy(refined.network)
    as_it_was.decoder = before
    found, earlier = (validate(one, select, plan, fabric, update=0, epoch=0) for one in (refined.network, as_it_was))
    if earlier.weighted_log_loss <= found.weighted_log_loss:
        return Fitted(network=as_it_was.cpu(), chosen=None)
    return Fitted(network=refined.network.cpu(), chosen=refined.chosen)


class SequenceLearner(Learner):
    """The sequence model alone, on embeddings; what does not change is no parameter of it."""

    def __init__(self, network: CnnLstm) -> None:
        torch.nn.Module.__init__(self)
        self.network = network.requires_grad_(False)
        self.network.decoder.requires_grad_(True)

    def forward(self, x_NF: Tensor, lengths_V: Tensor, gap_VS: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `Learner`, of embeddings [N, F]."""
        return self.network.classify(x_NF.reshape(*gap_VS.shape, -1), lengths_V, gap_VS), []


class EmbeddedSource:
    """Embeddings of whole scans, a file each."""

    def __init__(self, folder: Path, scans: int) -> None:
        self._folder, self._scans = folder, scans

    def __len__(self) -> int:
        return self._scans

    def fill(
        self,
        network: CnnLstm,
        source: Source,
        recipe: Recipe,
        fabric: Fabric,
        on_scan: Callable[[int, int], None],
    ) -> None:
        """Embed what is not there yet; the processes share the scans."""
        self._folder.mkdir(parents=True, exist_ok=True)
        missing = [index for index in range(len(self)) if not self._path(index).is_file()]
        mine = missing[fabric.global_rank :: fabric.world_size]
        for done, (index, scan, embeddings_SF) in enumerate(embed(network, source, recipe, fabric, mine)):
            partial = self._path(index).with_suffix(".partial")
            save_file(
                {
                    "embeddings": embeddings_SF.float().cpu().contiguous(),
                    "gap": scan.gap_VS[0].contiguous(),
                    "target": scan.target_VSC[0].contiguous(),
                    "weight": scan.weight_VSC[0].contiguous(),
                    "somewhere": scan.somewhere_VC[0].contiguous(),
                },
                partial,
                metadata={"name": scan.names[0]},
            )
            partial.replace(self._path(index))
            on_scan(done + 1, len(mine))
        fabric.barrier()

    def batch(self, micro: MicroBatch) -> Lesson:
        """As in `Source`: whole scans."""
        return self._lesson(micro.studies)

    def scan(self, index: int) -> Lesson:
        """As in `Source`."""
        return self._lesson((index,))

    def _lesson(self, indices: tuple[int, ...]) -> Lesson:
        each, names = zip(*(self._load(index) for index in indices), strict=True)
        padded = {
            key: torch.nn.utils.rnn.pad_sequence([scan[key] for scan in each], batch_first=True)
            for key in ("embeddings", "gap", "target", "weight")
        }
        return Lesson(
            x_NCGG=padded["embeddings"].flatten(0, 1),
            lengths_V=torch.tensor([len(scan["gap"]) for scan in each]),
            gap_VS=padded["gap"],
            target_VSC=padded["target"],
            weight_VSC=padded["weight"],
            somewhere_VC=torch.stack([scan["somewhere"] for scan in each]),
            names=names,
        )

    def _load(self, index: int) -> tuple[dict[str, Tensor], str]:
        with safe_open(str(self._path(index)), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict, though it looks it
            return tensors, (file.metadata() or {})["name"]

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06d}.safetensors"


def _plan(recipe: Recipe) -> Recipe:
    """The recipe of the second stage, for the loop that knows only one."""
    stage = recipe.second_stage
    assert stage is not None  # noqa: S101 - asked by who calls
    optimisation: dict[str, Any] = recipe.optimisation.model_dump() | {
        "epochs": stage.epochs,
        "updates": None,
        "warmup": stage.warmup,
        "slices_per_update": stage.scans_per_update * _LONGEST,
        "window_slices": (_LONGEST,),
        "accumulate": 1,
        "learning_rate": stage.learning_rate,
        "weight_decay": stage.weight_decay,
        "average_decay": 0.0,
    }
    loss = recipe.loss.model_dump() | {"localisation_weight": 0.0, "localisation_strides": ()}
    return recipe.model_copy(
        update={"optimisation": Optimisation.model_validate(optimisation), "loss": Loss.model_validate(loss)}
    )
