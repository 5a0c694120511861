"""Pictures of a trip, as data URIs: what was sent, with the truth drawn on it, and what came back."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from PIL import Image, ImageChops, ImageFilter
from pydicom.dataset import Dataset

from ichd.app.commission.phantoms import PhantomStudy
from ichd.vision.window import SUBDURAL, apply_window

#: Amber: neither blood on CT nor bone is of that colour.
_OUTLINE = (255, 176, 32)
_WIDTH = 600


def slice_with_truth(study: PhantomStudy) -> tuple[str, str]:
    """A PNG of the slice with most blood, the blood's edge drawn on it, or of the middle slice; and its caption."""
    areas_S = study.blood_SHW.sum(axis=(1, 2))
    index = int(areas_S.argmax()) if areas_S.any() else len(study.images) // 2
    grey_HW = (apply_window(study.hu_SHW[index], SUBDURAL) * 255).astype(np.uint8)
    picture = Image.fromarray(grey_HW).resize((_WIDTH, _WIDTH), Image.Resampling.LANCZOS).convert("RGB")
    blood = Image.fromarray(study.blood_SHW[index].astype(np.uint8) * 255).resize((_WIDTH, _WIDTH))
    picture.paste(_OUTLINE, mask=_edge(blood))
    where = f"Sent: slice {index + 1} of {len(study.images)}"
    return _png(picture), where + (", the blood outlined" if areas_S.any() else ", no blood")


def summary_page(page: Dataset | None) -> str | None:
    """The summary page as it came back; None where there is none, or it can't be decoded."""
    if page is None:
        return None
    try:
        pixels_HWC = page.pixel_array
    except (ValueError, AttributeError, RuntimeError, NotImplementedError, LookupError):
        return None
    return _png(Image.fromarray(pixels_HWC).convert("P", palette=Image.Palette.ADAPTIVE))


def _edge(mask: Image.Image) -> Image.Image:
    """What lies around the marked pixels, two of them wide, so that it hides none."""
    marked = mask.point(lambda value: 255 if value > 127 else 0)
    return ImageChops.subtract(marked.filter(ImageFilter.MaxFilter(5)), marked)


def _png(picture: Image.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode()
