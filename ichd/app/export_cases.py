"""`ichd export`: studies that readers have spoken about, with their images, for calibration and retraining.

What passes from the daemon to training is a folder of files: `studies.jsonl`, a line a study, and `images/`.
Training never opens the daemon's database, and may be on another machine.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichd.app.storage import Storage
from ichd.domain.errors import IchdError, NotAnalysable, UserError
from ichd.domain.image_file import ImageFile
from ichd.store.catalogue import Catalogue, CataloguedInstance
from ichd.store.criteria import Criteria
from ichd.store.reviews import ReviewedFinding, Reviews
from ichd.vision.parsed import opened, parse

STUDIES, IMAGES = "studies.jsonl", "images"


@dataclass(frozen=True, kw_only=True)
class ExportedCases:
    """What was written."""

    studies: int
    images: int
    #: Studies with a reader's word whose images are no longer stored, or not all of them.
    without_images: tuple[str, ...]
    #: Studies with a reader's word of which an image is no longer what was received; nothing of them was written.
    damaged: tuple[str, ...]


def export_cases(
    storage: Storage,
    out: Path,
    *,
    link: bool = False,
    on_progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> ExportedCases:
    """Write every reviewed study's words, and the images of the series that was read, to the new folder `out`.

    Images are copies. With `link` they are hard links to the spool, where the file system allows it: they take no room,
    but whoever writes into one changes the spool. Either is compared with the checksum of what was received. Who
    reviewed is not written; headers stay as they are, so the folder is as confidential as the spool.

    Raises:
        UserError: nobody has reviewed anything, `out` is there already, or it can't be written; nothing is left then.
        Transient: the database or the spool does not answer.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name another folder")
    words: dict[str, list[ReviewedFinding]] = {}
    for reviewed in Reviews(storage.engine).all_reviews():
        words.setdefault(reviewed.study_uid, []).append(reviewed)
    if not words:
        raise UserError("no reader has spoken about a finding yet; docs/feedback.md says how they can")
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        exported = _write(storage, words, partial, link=link, on_progress=on_progress)
        if out.exists():
            out.rmdir()
        partial.replace(out)
    except OSError as error:
        raise UserError(f"{out} can't be written ({error.strerror}); make room or name another place") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return exported


def _write(
    storage: Storage,
    words: Mapping[str, Sequence[ReviewedFinding]],
    folder: Path,
    *,
    link: bool,
    on_progress: Callable[[int, int], None],
) -> ExportedCases:
    catalogue = Catalogue(storage.engine, storage.spool)
    images, gone, damaged, written = 0, [], [], 0
    with (folder / STUDIES).open("w", encoding="utf-8") as lines:
        for done, (study_uid, reviewed) in enumerate(words.items()):
            on_progress(done, len(words))
            newest = max(reviewed, key=lambda word: word.revision)
            criteria = Criteria(study_uids=[study_uid], series_uids=[newest.series_uid])
            stored = list(catalogue.files(criteria))
            catalogue.bring(stored)
            if not stored or any(image.dropped_at is not None or not image.path.exists() for image in stored):
                gone.append(study_uid)
                continue
            place = f"{IMAGES}/{written + 1:06d}"
            names = [f"{place}/{number:04d}.dcm" for number in range(1, len(stored) + 1)]
            try:
                for name, image in zip(names, stored, strict=True):
                    _place(image.file, folder / name, link=link)
            except NotAnalysable:
                shutil.rmtree(folder / place, ignore_errors=True)
                damaged.append(study_uid)
                continue
            written += 1
            lines.write(json.dumps(_line(newest, reviewed, names, stored[0])) + "\n")
            images += len(stored)
    on_progress(len(words), len(words))
    return ExportedCases(studies=written, images=images, without_images=tuple(gone), damaged=tuple(damaged))


def _line(
    newest: ReviewedFinding, reviewed: Sequence[ReviewedFinding], images: Sequence[str], sample: CataloguedInstance
) -> dict[str, Any]:
    """One study, as docs/training-data.md says."""
    return {
        "study_uid": newest.study_uid,
        "patient_id": _patient_id(sample.file),
        "series_uid": newest.series_uid,
        "revision": newest.revision,
        "bundle_sha256": newest.bundle_sha256,
        "scan": dict(newest.scan),
        "reviews": [
            {
                "revision": word.revision,
                "agreement": str(word.review.agreement),
                "source": str(word.review.source),
                "received_at": word.review.received_at.isoformat(),
                "truth": {name: bool(there) for name, there in word.review.truth.items()},
            }
            for word in reviewed
        ],
        "images": list(images),
    }


def _patient_id(image: ImageFile) -> str:
    """The database knows no patients: only the image says whose it is."""
    try:
        return parse(image).attributes.text("PatientID")
    except IchdError:
        return ""


def _place(image: ImageFile, target: Path, *, link: bool) -> None:
    """Copy or link an image; a copy is made of the very bytes that were checked.

    Raises:
        NotAnalysable: FILE_DAMAGED.
        Transient: the spool's disk fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened(image.path, image.sha256) as file:
        if link:
            # Another disk, or a file system without links: a copy says it if there is no room either.
            with suppress(OSError):
                os.link(image.path, target)
                return
        content = file.read()
    target.write_bytes(content)
