"""Whether the model in force can be used, without loading torch for the answer."""

import hashlib
from pathlib import Path

from ichd.app.promoted import in_force, mend_of
from ichd.domain.errors import Permanent, UserError
from ichd.domain.finding import ModelIdentity
from ichd.settings import ModelSettings
from ichd.vision.manifest import MANIFEST_NAME, read_manifest
from ichd.vision.shelf import find_bundle

#: As `ichd.vision.bundle` writes it; that module loads torch.
WEIGHTS_NAME = "weights.safetensors"
_COPY_AGAIN = "copy the whole folder of the bundle again"


def check_model(model: ModelSettings, *, weights: bool = True) -> ModelIdentity:
    """The identity of the model that a worker would read with.

    What the weights hold is not looked at: `ichd model verify` does that. Without `weights` they need only be there,
    which is known at once; to hash some hundred megabytes takes a second or a slow disk's many.

    Raises:
        UserError: there is no such bundle, or it or the pointer to it is damaged; the message names the mend.
    """
    try:
        found = in_force(model)
    except Permanent as error:
        raise UserError(f"the model in force: {error}; {mend_of(model)}") from error
    if found.pointer is None:
        return check_bundle(model.bundle, weights=weights)
    return check_folder(found.folder, "the promoted model", mend_of(model), weights=weights)


def check_bundle(name_or_path: str, *, weights: bool = True) -> ModelIdentity:
    """The identity of a bundle whose manifest is valid and whose weights are the ones that it names.

    Raises:
        UserError: there is no such bundle, or it is damaged; the message names the mend.
    """
    return check_folder(find_bundle(name_or_path), "model.bundle", _COPY_AGAIN, weights=weights)


def check_folder(folder: Path, named_by: str, mend: str, *, weights: bool = True) -> ModelIdentity:
    """The same of a folder, with the words of who names it.

    Raises:
        UserError: as `check_bundle`.
    """
    try:
        manifest = read_manifest(folder)
    except Permanent as error:
        raise UserError(f"{named_by}: {error}") from error
    path = folder / WEIGHTS_NAME
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest() if weights else manifest.weights.sha256
    except OSError as error:
        raise UserError(f"{named_by}: {path} can't be read ({error.strerror}); {mend}") from error
    if sha256 != manifest.weights.sha256:
        raise UserError(
            f"{named_by}: {path} is not the file that its {MANIFEST_NAME} names, it was changed or damaged; {mend}"
        )
    return manifest.identity
