"""What may be asked of a phantom: one frozen recipe, everything else follows from its seed."""

from dataclasses import dataclass

import numpy as np

from ichd.domain.errors import UserError

#: Bit k of a label voxel says that BLEED_KINDS[k] is present there; the order is that of the classes after "any".
BLEED_KINDS: tuple[str, ...] = ("intraparenchymal", "intraventricular", "subarachnoid", "subdural", "epidural")

#: What looks like blood, or disturbs a reader, and is none.
MIMIC_KINDS: tuple[str, ...] = (
    "calcification", "hyperdense_sinus", "hyperdense_artery", "motion", "clip", "craniotomy", "contrast",
    "scalp_haematoma", "old_infarct", "atrophy", "white_matter_disease", "hygroma", "arachnoid_cyst",
    "meningioma", "low_dose",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PhantomRecipe:
    """A synthetic head CT before it is rendered. Equal recipes render to equal bytes.

    Fields left at None are drawn from the seed within clinical ranges.
    """

    seed: int
    bleeds: tuple[str, ...] = ()
    mimics: tuple[str, ...] = ()
    slices: int = 28
    rows: int = 512
    #: edge of the working grid's voxels in plane; 1.5 for training sets, 1.0 for looks
    voxel_mm: float = 1.0
    #: 0 = clinical realism, 1 = wide randomisation of densities, noise, kernel, resolution and geometry
    wild: float = 0.0
    age: float | None = None
    #: head lengths: field of view, gantry tilt, slice thickness, noise (standard deviation in mid-brain)
    fov_mm: float | None = None
    tilt_deg: float | None = None
    thickness_mm: float | None = None
    noise_hu: float | None = None
    #: 0 = no bleed is smaller than moderate, 1 = every bleed is as faint as its kind allows
    subtlety: float | None = None

    def __post_init__(self) -> None:
        for given, known, word in ((self.bleeds, BLEED_KINDS, "bleed"), (self.mimics, MIMIC_KINDS, "mimic")):
            for kind in given:
                if kind not in known:
                    raise UserError(f"{kind!r} is not a {word} that the phantom knows; choose from {', '.join(known)}.")
        if not 1 <= self.slices <= 400:
            raise UserError(f"A phantom has 1 to 400 slices, not {self.slices}.")
        if not 32 <= self.rows <= 1024:
            raise UserError(f"A phantom has 32 to 1024 rows, not {self.rows}.")
        if not 0.5 <= self.voxel_mm <= 4.0:
            raise UserError(f"The working grid needs voxels of 0.5 to 4 mm, not {self.voxel_mm}.")
        if not 0.0 <= self.wild <= 1.0:
            raise UserError(f"wild lies between 0 and 1, not {self.wild}.")

    def generator(self, purpose: str, attempt: int = 0) -> np.random.Generator:
        """An independent random stream a purpose, so that a new draw for one leaves the others unmoved."""
        words = [self.seed & 0xFFFFFFFF, (self.seed >> 32) & 0xFFFFFFFF, attempt, *purpose.encode()]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
