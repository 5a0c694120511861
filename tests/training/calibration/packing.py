"""A packed data set of small phantoms, in all of which every second patient bleeds into the brain."""

from pathlib import Path

from ichd.domain.finding import CLASSES
from ichd.phantom import Phantom, PhantomRecipe, render
from tests.training.packed.site import Image, Study, write_site
from training.packed.pack import pack


def packed_phantoms(folder: Path, *, patients: int) -> Path:
    """Packed under `folder`, one scan a patient, all in the split "valid"."""
    heads = {
        bleeds: [
            render(PhantomRecipe(seed=seed, rows=64, slices=6, voxel_mm=4.0, bleeds=bleeds)) for seed in range(seeds)
        ]
        for bleeds, seeds in (((), 3), (("intraparenchymal",), 3))
    }
    studies = []
    for patient in range(patients):
        phantoms = heads[("intraparenchymal",) if patient % 2 else ()]
        studies.append(_study(f"ID_{patient:03}", phantoms[patient // 2 % len(phantoms)], bleeds=bool(patient % 2)))
    out = folder / "packed"
    pack(write_site(folder / "site", studies), out, processes=1)
    return out


def _study(name: str, phantom: Phantom, *, bleeds: bool) -> Study:
    spacing = (phantom.pixel_spacing_mm, phantom.pixel_spacing_mm)
    found = dict.fromkeys(CLASSES, 0) | {"any": int(bleeds), "intraparenchymal": int(bleeds)}
    images = [
        Image(hu_HW=hu_HW, z_mm=float(z), labels=found, spacing_mm=spacing)
        for hu_HW, z in zip(phantom.hu_SHW, phantom.z_mm, strict=True)
    ]
    return Study(name=name, images=images, split="valid")
