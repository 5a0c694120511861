"""Reconstruction kernels: which of the vendors' names are sharp.

A sharp kernel shows bone and lung; over brain its noise hides blood. Convolution Kernel (0018,1210) is free text, so
this is a table of names as the vendors print them; whatever is not in it is taken for soft, because a soft series
called sharp is a patient not read, and a sharp one called soft is read with more noise than said.

| vendor | sharp | soft |
|---|---|---|
| GE | BONE, BONEPLUS, EDGE, LUNG, ULTRA, with or without HD | SOFT, STANDARD, STD+, DETAIL |
| Siemens | number from 57 up: H60s, B70f, Br64, Hr60, Bl57, U90u | H30s, H41s, Hr40, J40s, Qr40 |
| Philips | D, E, EA, EB, EC, L, LA, YA, YB, YC, YD, YE | UA, UB, UC, A, B, C, SA, SB |
| Canon, Toshiba | FC30 to FC39, FC50 to FC59, FC80 to FC89 | FC01 to FC29, FC41 to FC45, FC62 to FC68 |
| others | a name that holds BONE, SHARP, LUNG or EDGE | |
"""

import re

_SHARP_WORDS = re.compile(r"BONE|SHARP|LUNG|EDGE|^ULTRA")
_SIEMENS = re.compile(r"^(?:[BHIJUTQ][A-Z]?)([0-9]{2})")
_SIEMENS_SHARP_FROM = 57
_PHILIPS_SHARP = frozenset({"D", "E", "EA", "EB", "EC", "L", "LA", "YA", "YB", "YC", "YD", "YE"})
_CANON = re.compile(r"^FC([0-9]{2})")
_CANON_SHARP_TENS = frozenset({3, 5, 8})
#: In a description; believed only where the kernel is missing.
_BONE_SERIES = re.compile(r"\b(BONES?|BONY|KNOCHEN|OSSEUX|HUESO)\b")


def is_sharp(kernel: str, description: str = "") -> bool:
    """Whether a kernel is sharp; `description` is the series' and speaks where the kernel is empty."""
    # Siemens writes the strength of iterative reconstruction as a second value.
    name = kernel.upper().split("\\")[0].strip()
    if not name:
        return _BONE_SERIES.search(description.upper()) is not None
    if _SHARP_WORDS.search(name) or name in _PHILIPS_SHARP:
        return True
    if siemens := _SIEMENS.match(name):
        return int(siemens[1]) >= _SIEMENS_SHARP_FROM
    if canon := _CANON.match(name):
        return int(canon[1]) // 10 in _CANON_SHARP_TENS
    return False
