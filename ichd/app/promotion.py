"""`ichd model promote` and `ichd model rollback`: which model reads from now on, without a restart.

A bundle is copied whole, checked, and only then named by the pointer (`ichd.app.promoted`); the model that was in force
is kept beside it, also where it came from the settings, because a rollback must not depend on a folder of a run that
somebody tidied up.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ichd.app.model import check_folder
from ichd.app.promoted import (
    InForce,
    Pointer,
    in_force,
    mend_of,
    pointer_path,
    read_pointer,
    sync_folder,
    write_whole,
)
from ichd.domain.errors import Permanent, UserError
from ichd.domain.finding import ModelIdentity
from ichd.settings import ModelSettings
from ichd.vision.manifest import MANIFEST_NAME, read_manifest
from ichd.vision.shelf import find_bundle, list_bundles

PROMOTION_NAME = "promotion.json"
_LOCK_NAME = ".lock"

State = Literal["in force", "before it", "promoted earlier", "shipped", "of the settings"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a promotion or a rollback did."""

    did: Literal["promoted", "rolled back to"]
    model: ModelIdentity
    before: ModelIdentity
    pointer: Pointer


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """One line of `ichd model list`."""

    folder: Path
    state: State
    #: None where its manifest can't be read; `problem` says why.
    identity: ModelIdentity | None
    problem: str = ""


def current_of(model: ModelSettings) -> tuple[InForce, ModelIdentity]:
    """The model that a candidate is to replace, checked to the last bit.

    Raises:
        UserError: it, or the pointer to it, is damaged.
    """
    try:
        found = in_force(model)
    except Permanent as error:
        raise UserError(f"the model in force: {error}; {mend_of(model)}") from error
    return found, check_folder(found.folder, "the model in force", mend_of(model))


def promote(
    model: ModelSettings,
    candidate: Path,
    *,
    how: Literal["gate", "without_gate"],
    gate: Mapping[str, Any],
    expected: Pointer | None,
    by: str,
    now: datetime,
) -> Change:
    """Copy a bundle and put it in force.

    `gate` holds the figures or the reason to do without. `expected` is the pointer that the figures were made under.

    Raises:
        UserError: the bundle is damaged or in force already, somebody else has promoted meanwhile, or the folder of
            `model.promoted` can't be written.
    """
    identity = check_folder(candidate, str(candidate), "copy the whole folder of the bundle again")
    root = Path(model.promoted)
    with _writing(root):
        if _pointer_or_none(model) != expected:
            raise UserError("somebody else changed the model meanwhile; look at `ichd model list`, then promote again")
        present, before = _present(model, without_gate=how == "without_gate")
        if before.bundle_sha256 == identity.bundle_sha256:
            raise UserError(f"{identity.name} {identity.version} is in force already; there is nothing to promote")
        previous = _keep(present, root, {"how": "was_in_force", "at": now.isoformat(), "by": by, "gate": {}})
        record = {"how": how, "at": now.isoformat(), "by": by, "after": previous, "gate": dict(gate)}
        bundle = _keep(candidate, root, record)
        pointer = Pointer(
            bundle=bundle,
            bundle_sha256=identity.bundle_sha256,
            previous=previous,
            setting=model.bundle,
            at=now,
            by=by,
            how=how,
            gate=dict(gate),
        )
        write_whole(pointer_path(model), pointer.model_dump_json(indent=2) + "\n")
    return Change(did="promoted", model=identity, before=before, pointer=pointer)


def roll_back(model: ModelSettings, *, by: str, now: datetime) -> Change:
    """Put the model in force that was so before the present one; done twice, it is undone.

    Raises:
        UserError: nothing was promoted under the present `model.bundle`, or the model before is damaged.
    """
    root = Path(model.promoted)
    with _writing(root):
        pointer = read_pointer(model)
        if pointer is None:
            raise UserError("nothing was promoted, so that there is nothing to roll back; model.bundle decides")
        if pointer.setting != model.bundle:
            raise UserError(
                f"model.bundle was edited after the promotion and decides now ({model.bundle!r}); "
                f"set it back to {pointer.setting!r} first, or promote the model that you want"
            )
        mend = f"promote a sound copy, or remove {pointer_path(model)} to read with model.bundle"
        folder = root / pointer.previous
        if not (folder / MANIFEST_NAME).is_file():
            raise UserError(f"{folder}, the model before, holds no {MANIFEST_NAME}; {mend}")
        identity = check_folder(folder, "the model before", mend)
        back = pointer.model_copy(
            update={
                "bundle": pointer.previous,
                "bundle_sha256": identity.bundle_sha256,
                "previous": pointer.bundle,
                "at": now,
                "by": by,
                "how": "rollback",
                "gate": {},
            }
        )
        # The one that is left may be damaged, which may be the very reason to leave it.
        before = _identity_or_unknown(root / pointer.bundle, pointer)
        write_whole(pointer_path(model), back.model_dump_json(indent=2) + "\n")
    return Change(did="rolled back to", model=identity, before=before, pointer=back)


def shelved(model: ModelSettings) -> list[Shelved]:
    """Every bundle at hand: the one in force first, then the one before, promoted ones, shipped ones, the setting's.

    Raises:
        UserError: the pointer, or the bundle that it names, is damaged.
    """
    found = in_force(model)
    root = Path(model.promoted)
    states: dict[Path, State] = {found.folder: "in force"}
    if found.pointer is not None:
        states.setdefault(root / found.pointer.previous, "before it")
    for manifest in sorted(root.glob(f"*/{MANIFEST_NAME}")):
        states.setdefault(manifest.parent, "promoted earlier")
    for folder in list_bundles():
        states.setdefault(folder, "shipped")
    # A promotion holds also where it is gone: its copy is whole.
    with suppress(UserError):
        states.setdefault(find_bundle(model.bundle), "of the settings")
    return [_shelved(folder, state) for folder, state in states.items()]


def verdict(gate_record: Mapping[str, Any]) -> str:
    """The gate in a few words, for lists, logs and the audit trail."""
    if "reason" in gate_record:
        return f"none, because {gate_record['reason']}"
    did = "passed" if gate_record["passed"] else "not passed"
    return f"{did} on {gate_record['reference']}, margin {gate_record['margin']:g}"


def _shelved(folder: Path, state: State) -> Shelved:
    try:
        return Shelved(folder=folder, state=state, identity=read_manifest(folder).identity)
    except (Permanent, UserError) as error:
        return Shelved(folder=folder, state=state, identity=None, problem=str(error))


def _present(model: ModelSettings, *, without_gate: bool) -> tuple[Path, ModelIdentity]:
    """What is in force. Without a gate a damaged promotion does not stand in the way: the setting's bundle takes it."""
    try:
        found, identity = current_of(model)
    except UserError:
        if not without_gate:
            raise
        folder = find_bundle(model.bundle)
        return folder, check_folder(folder, "model.bundle", "copy the whole folder of the bundle again")
    return found.folder, identity


def _pointer_or_none(model: ModelSettings) -> Pointer | None:
    try:
        return read_pointer(model)
    except UserError:
        return None


def _identity_or_unknown(folder: Path, pointer: Pointer) -> ModelIdentity:
    try:
        return read_manifest(folder).identity
    except (Permanent, UserError):
        return ModelIdentity(
            name=pointer.bundle, version="?", weights_sha256="", bundle_sha256=pointer.bundle_sha256, statement=""
        )


def _keep(bundle: Path, root: Path, record: Mapping[str, Any]) -> str:
    """Copy a bundle below `root`, unless it is there and whole, and say how it came; returns the folder's name."""
    identity = read_manifest(bundle).identity
    name = f"{identity.name}-{identity.bundle_sha256[:12]}"
    kept = root / name
    if kept.is_dir() and _is_whole(kept, identity):
        if record["how"] != "was_in_force":
            write_whole(kept / PROMOTION_NAME, json.dumps(record, indent=2) + "\n")
        return name
    scratch = Path(tempfile.mkdtemp(dir=root, prefix=f"{name}.partial-"))
    try:
        copy = scratch / name
        copy.mkdir()
        for file in sorted(bundle.iterdir()):
            if file.is_file() and file.name != PROMOTION_NAME:
                _copy(file, copy / file.name)
        write_whole(copy / PROMOTION_NAME, json.dumps(record, indent=2) + "\n")
        if not _is_whole(copy, identity):
            raise UserError(f"{copy} is not what was copied; check the disk of model.promoted, then promote again")
        # A damaged copy makes way by its name, which changes at once.
        if kept.exists():
            kept.rename(scratch / "damaged")
        copy.rename(kept)
        sync_folder(root)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return name


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 20)
        writing.flush()
        os.fsync(writing.fileno())


def _is_whole(folder: Path, identity: ModelIdentity) -> bool:
    try:
        return check_folder(folder, "", "").bundle_sha256 == identity.bundle_sha256
    except UserError:
        return False


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """One change at a time; what the disk refuses is named.

    Raises:
        UserError: the folder can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / _LOCK_NAME).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(
            f"{root} can't be written ({error.strerror or error}); make room or give this user the folder; "
            "the model in force is the same as before"
        ) from error
