"""Is anything left to read? Streaks, noise or metal may take the brain out of most slices."""

import numpy as np

from ichd.domain.reason import Reason
from ichd.vision.quality.sections import Sections

#: Oedema and fluid to calcium and contrast agent, with the noise of a low dose.
_READABLE_HU = (-60, 160)
#: Slices of the vault: below, fat and air lie between bones as they should.
_VAULT_SHARE = 0.5
_LEAST_READABLE = 0.5
_MOST_RUINED = 0.6


def ruin_of(sections: Sections) -> tuple[Reason, str] | None:
    """ARTEFACTS, where in most slices of the vault less than half of what the skull holds has a value of its content.

    So coarse on purpose: what a radiologist would still read is read, with notes, and the model speaks.
    """
    cavity = sections.cavity_SHW.sum(axis=(1, 2))
    vault_S = (cavity > 0) & (cavity >= _VAULT_SHARE * cavity.max())
    readable = sections.cavity_SHW & (sections.hu_SHW > _READABLE_HU[0]) & (sections.hu_SHW < _READABLE_HU[1])
    ruined = vault_S & (readable.sum(axis=(1, 2)) < _LEAST_READABLE * np.maximum(cavity, 1))
    if ruined.sum() <= _MOST_RUINED * vault_S.sum():
        return None
    return Reason.ARTEFACTS, f"nothing of the brain can be seen in {ruined.sum()} of {vault_S.sum()} slices"
