"""The style sheet: legible in both palettes (WCAG 2.2, 1.4.3), and complete."""

import re
from pathlib import Path

import pytest

import ichd.web

STATIC = Path(ichd.web.__file__).parent / "static"
CSS = (STATIC / "ichd.css").read_text()
TONES = ("urgent", "indeterminate", "routine", "waiting", "unread", "failed")
#: Text colour and what it stands on.
PAIRS = [
    *((text, ground) for text in ("ink", "quiet", "link") for ground in ("ground", "surface")),
    *((tone, f"{tone}-soft") for tone in TONES),
    *((tone, ground) for tone in TONES for ground in ("ground", "surface")),
    ("banner-ink", "banner"),
]


def palettes() -> list[dict[str, str]]:
    """Light, dark."""
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{([^}]*)\}", CSS)]


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_text_is_legible(which: int) -> None:
    palette = palettes()[which]

    faint = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in PAIRS}
    assert {pair: ratio for pair, ratio in faint.items() if ratio < 4.5} == {}


def test_both_palettes_name_the_same_colours() -> None:
    light, dark = palettes()

    assert light.keys() == dark.keys()


def test_every_colour_that_is_used_is_named() -> None:
    sheets = "".join(sheet.read_text() for sheet in STATIC.glob("*.css"))
    used = set(re.findall(r"var\(--([a-z-]+)", sheets)) - {"tone", "soft"}

    assert used <= palettes()[0].keys()
