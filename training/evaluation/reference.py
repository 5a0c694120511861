"""What a candidate is measured on: packed studies of the site, or phantoms for who has none.

Phantoms are rendered once and kept, so that the next candidate meets the same, whatever a newer version would render.
They are weak evidence: a model can be good on them and bad on heads, and the other way round.

Shapes: S slices, H W pixels, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.phantom import BLEED_KINDS, MIMIC_KINDS, PhantomRecipe, render
from ichd.vision.manifest import Manifest
from ichd.vision.preprocess import head_centre
from training.packed.study import PackedStudy

PHANTOMS = "phantoms"
SCANS = 40
_FORM = "ichd reference 1"
_SET_NAME = "set.json"
#: Far from the seeds of recipes, demonstrations and tests.
_FIRST_SEED = 2**44
_ROWS = 256
_SLICES = 20
_VOXEL_MM = 1.5

OnScan = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Studies whose truth is known, and what they are worth."""

    #: In words, as it stands in the record of a promotion.
    name: str
    studies: Sequence[PackedStudy]
    #: Over all of them, so that a model can be asked whether it knows them.
    data_sha256: str
    #: What a person should know who trusts them.
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptPhantom(PackedStudy):
    """A phantom in a file of its own; there is no need to pack what is read once a promotion."""

    def hu(self, slices: Sequence[int] | None = None) -> NDArray[np.int16]:
        """HU, int16 [S, H, W].

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path} can't be read ({error.strerror}); {_mend(self.path.parent)}") from error
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise UserError(f"{self.path} is damaged; {_mend(self.path.parent)}")
        # A copy: torch wants arrays that can be written to.
        hu_SHW = np.frombuffer(content, dtype="<i2").astype(np.int16).reshape(len(self), self.rows, self.columns)
        return hu_SHW if slices is None else hu_SHW[list(slices)]


def open_reference(wish: str, folder: Path, *, on_scan: OnScan = lambda _done, _all: None) -> Reference:
    """The reference set that a person asks for: "phantoms", kept in `folder`, or a folder of packed studies.

    `on_scan` is told how many phantoms of how many are rendered.

    Raises:
        UserError: none was named, there is none, or it is damaged.
    """
    if not wish:
        raise UserError(
            "what shall the candidate be measured on? Give --reference DIR, a folder that `ichd data pack` wrote, or "
            "--reference phantoms, which is weak evidence (model.reference in ichd.toml sets it for good)"
        )
    return kept_phantoms(folder / PHANTOMS, on_scan=on_scan) if wish == PHANTOMS else _packed(Path(wish))


def knows(manifest: Manifest, reference: Reference) -> bool:
    """Whether a model says that these very data went into it. One that says nothing may know them all the same."""
    return reference.data_sha256 in set(_words(manifest.metrics)) or reference.data_sha256 in manifest.training_data


def _words(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, str):
        yield value


def _packed(folder: Path) -> Reference:
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give --reference a folder that `ichd data pack` wrote, or phantoms")
    from training.packed.dataset import open_packed

    data = open_packed(folder)
    return Reference(name=f"test split of {folder}", studies=data.split("test"), data_sha256=data.data_sha256)


def kept_phantoms(folder: Path, *, scans: int = SCANS, rows: int = _ROWS, on_scan: OnScan) -> Reference:
    """The phantoms in a folder, which are rendered where it is not there yet: `scans` of them, half without a bleed.

    Raises:
        UserError: the folder is damaged, or can't be written.
    """
    if not (folder / _SET_NAME).is_file():
        try:
            _render_all(folder, scans, rows, on_scan)
        except OSError as error:
            raise UserError(
                f"{folder} can't be written ({error.strerror}); make room, or set model.promoted to another folder"
            ) from error
    content = (folder / _SET_NAME).read_bytes()
    try:
        kept = json.loads(content)
        studies = tuple(_study(folder, record) for record in kept["phantoms"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / _SET_NAME} is damaged; {_mend(folder)}") from error
    if kept.get("form") != _FORM:
        raise UserError(f"{folder} is of another version; {_mend(folder)}")
    return Reference(
        name=f"{len(studies)} phantoms",
        studies=studies,
        data_sha256=hashlib.sha256(content).hexdigest(),
        remarks=("phantoms are weak evidence: they are no patients, and easier than most",),
    )


def _mend(folder: Path) -> str:
    return f"remove {folder}, and it is rendered again"


def _render_all(folder: Path, scans: int, rows: int, on_scan: OnScan) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.partial-"))
    try:
        records = []
        for number in range(scans):
            on_scan(number, scans)
            records.append(_render(scratch, number, rows))
        on_scan(scans, scans)
        text = json.dumps({"form": _FORM, "phantoms": records}, indent=1)
        (scratch / _SET_NAME).write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def recipe_of(number: int, rows: int) -> PhantomRecipe:
    """Bleeding and bleed-free in turns; each kind as often as the others, mimics in two of three."""
    kind = BLEED_KINDS[number // 2 % len(BLEED_KINDS)]
    return PhantomRecipe(
        seed=_FIRST_SEED + number,
        bleeds=(kind,) if number % 2 == 0 else (),
        mimics=(MIMIC_KINDS[number % len(MIMIC_KINDS)],) if number % 3 else (),
        slices=_SLICES,
        rows=rows,
        voxel_mm=_VOXEL_MM,
        wild=0.3,
        subtlety=0.8,
    )


def _render(folder: Path, number: int, rows: int) -> dict[str, Any]:
    phantom = render(recipe_of(number, rows))
    hu_SHW = np.ascontiguousarray(phantom.hu_SHW, dtype="<i2")
    name = f"{number:03d}.i2"
    content = hu_SHW.tobytes()
    (folder / name).write_bytes(content)
    return {
        "file": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "shape": list(hu_SHW.shape),
        "z_mm": [float(z) for z in phantom.z_mm],
        "pixel_spacing_mm": phantom.pixel_spacing_mm,
        "head_centre": [float(part) for part in head_centre(hu_SHW, (phantom.pixel_spacing_mm,) * 2)],
        "presence": np.asarray(phantom.presence_SC, dtype=int).tolist(),
    }


def _study(folder: Path, record: Mapping[str, Any]) -> KeptPhantom:
    labels_SC = np.array(record["presence"], dtype=np.int8)
    name, (slices, rows, columns) = record["file"], record["shape"]
    row, column = record["head_centre"]
    return KeptPhantom(
        study_id=name,
        patient_id=name,
        split="test",
        path=folder / name,
        sha256=record["sha256"],
        image_ids=tuple((f"{name}/{index}",) for index in range(slices)),
        z_mm=tuple(record["z_mm"]),
        rows=rows,
        columns=columns,
        pixel_spacing_mm=(record["pixel_spacing_mm"], record["pixel_spacing_mm"]),
        head_centre=(row, column),
        labels_SC=labels_SC,
        study_labels_C=labels_SC.max(axis=0),
        label_level="slice",
    )
