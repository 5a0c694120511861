"""Which model is in force: the one that was promoted last, as long as `model.bundle` says what it said then.

A folder (`model.promoted`) holds copies of the bundles that were promoted, and `current.json`, which points to one of
them. No table knows of it: workers that share the folder read the same file, one that runs without a database for a
moment still knows its model, and a backup of the folder is whole. No torch is imported here.
"""

import os
import secrets
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from ichd.domain.errors import IchdError, UserError
from ichd.settings import ModelSettings
from ichd.vision.manifest import MANIFEST_NAME, read_manifest
from ichd.vision.shelf import find_bundle

POINTER_NAME = "current.json"
_REFUSAL = "refused-"

FolderName = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Pointer(BaseModel):
    """`current.json`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    form: Literal["ichd promotion 1"] = "ichd promotion 1"
    #: Folder beside the pointer, and the digest of its manifest, which names that of the weights.
    bundle: str = FolderName
    bundle_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    #: What `ichd model rollback` goes back to: the folder of the model that was in force before.
    previous: str = FolderName
    #: What `model.bundle` said. Whoever edits it afterwards means it.
    setting: str
    at: AwareDatetime
    by: str
    how: Literal["gate", "without_gate", "rollback"]
    #: Figures of the gate, or the reason to do without; nothing of a rollback.
    gate: dict[str, Any] = Field(default_factory=dict)


class Refusal(BaseModel):
    """`refused-HOST.json`: a worker could not load what the pointer names, and reads with the model that it has."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    bundle: str
    host: str
    at: AwareDatetime
    why: str


@dataclass(frozen=True, kw_only=True)
class InForce:
    """The bundle that reads, and who says so."""

    folder: Path
    #: None where `model.bundle` decides.
    pointer: Pointer | None
    #: A promotion that no longer holds, because `model.bundle` was edited after it.
    overruled: Pointer | None = None

    @property
    def source(self) -> str:
        """In words, for people."""
        if self.pointer is not None:
            did = "rolled back to" if self.pointer.how == "rollback" else "promoted"
            return f"{did} {self.pointer.at.astimezone():%Y-%m-%d %H:%M} by {self.pointer.by}"
        if self.overruled is not None:
            return (
                "from model.bundle, which was edited after a promotion: the setting wins over "
                f"{self.overruled.bundle} (promote again, or set model.bundle back to {self.overruled.setting!r})"
            )
        return "from model.bundle"


def in_force(model: ModelSettings) -> InForce:
    """The bundle that a worker must read with; that its weights are whole is not looked at.

    Raises:
        UserError: the pointer is damaged, or names a bundle that is not there or is another; or there is no bundle of
            the name in `model.bundle`. A damaged promotion never falls back to the setting by itself.
        Permanent: MODEL_UNUSABLE, the manifest can't be followed.
    """
    pointer = read_pointer(model)
    if pointer is None:
        return InForce(folder=find_bundle(model.bundle), pointer=None)
    if pointer.setting != model.bundle:
        return InForce(folder=find_bundle(model.bundle), pointer=None, overruled=pointer)
    folder = Path(model.promoted) / pointer.bundle
    if not (folder / MANIFEST_NAME).is_file():
        raise UserError(f"{folder}, which was promoted, holds no {MANIFEST_NAME}; {mend_of(model)}")
    if read_manifest(folder).identity.bundle_sha256 != pointer.bundle_sha256:
        raise UserError(f"{folder} is not the bundle that was promoted, it was changed or damaged; {mend_of(model)}")
    return InForce(folder=folder, pointer=pointer)


def promoted_at(model: ModelSettings) -> datetime | None:
    """Since when the model in force is so; None where nothing was promoted, or can't be used: others say so."""
    try:
        pointer = in_force(model).pointer
    except IchdError:
        return None
    return None if pointer is None else pointer.at


def read_pointer(model: ModelSettings) -> Pointer | None:
    """The pointer; None where nothing was promoted.

    Raises:
        UserError: it is damaged or can't be read.
    """
    path = pointer_path(model)
    try:
        return Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise UserError(f"{path}, which names the model in force, is damaged; {_pointer_mend(path)}") from error
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror}); let this user read it") from error


def pointer_path(model: ModelSettings) -> Path:
    """Where the pointer stands, if there is one."""
    return Path(model.promoted) / POINTER_NAME


def mend_of(model: ModelSettings) -> str:
    """What a person can do about a promoted bundle that can't be used."""
    return (
        "go back with `ichd model rollback`, promote a sound copy with `ichd model promote`, "
        f"or remove {pointer_path(model)} to read with model.bundle"
    )


def _pointer_mend(path: Path) -> str:
    return (
        "promote a model with `ichd model promote BUNDLE --without-gate REASON`, "
        f"or remove {path} to read with model.bundle"
    )


def sign_of(model: ModelSettings) -> tuple[int, ...]:
    """Digits that differ after every change of the pointer; one stat, so that it can be asked for before each study."""
    try:
        found = pointer_path(model).stat()
    except OSError as error:
        return (error.errno or -1,)
    # The name is given to a new file at each change, so the inode alone would nearly do.
    return found.st_ino, found.st_mtime_ns, found.st_size


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is the old one or the new one, whatever happens to the power.

    Raises:
        OSError: the disk is full, or the folder can't be written to.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def note_refusal(model: ModelSettings, bundle: str, why: str, *, now: datetime) -> None:
    """Leave word for doctor, status and the web role, which are other processes; a full disk must not stop a worker."""
    refusal = Refusal(bundle=bundle, host=socket.gethostname(), at=now, why=why)
    with suppress(OSError):
        write_whole(_refusal_path(model), refusal.model_dump_json(indent=2) + "\n")


def clear_refusal(model: ModelSettings) -> None:
    """This machine's worker has what the pointer names."""
    with suppress(OSError):
        _refusal_path(model).unlink()


def refusals(model: ModelSettings, pointer: Pointer | None) -> Sequence[Refusal]:
    """Which machines could not load the promoted bundle; words about an earlier one count no more."""
    found = []
    for path in sorted(Path(model.promoted).glob(f"{_REFUSAL}*.json")):
        with suppress(OSError, ValidationError):
            found.append(Refusal.model_validate_json(path.read_bytes()))
    return [each for each in found if pointer is not None and each.bundle == pointer.bundle]


def trouble_with(model: ModelSettings, found: InForce) -> str | None:
    """In one sentence, which machines read with another model than the one in force; None where all is well."""
    said = refusals(model, found.pointer)
    if not said:
        return None
    first = said[0]
    hosts = ", ".join(each.host for each in said)
    return (
        f"{first.bundle} was promoted but the worker on {hosts} could not load it and reads with the model before it: "
        f"{first.why}"
    )


def model_trouble(model: ModelSettings) -> str | None:
    """Why new studies may not be read by the model that they should be; None where all is well."""
    try:
        return trouble_with(model, in_force(model))
    except IchdError as error:
        return str(error)


def _refusal_path(model: ModelSettings) -> Path:
    return Path(model.promoted) / f"{_REFUSAL}{socket.gethostname()}.json"
