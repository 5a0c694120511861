"""Whether the model that the settings name can be used, without loading torch for the answer."""

import hashlib

from ichd.domain.errors import Permanent, UserError
from ichd.domain.finding import ModelIdentity
from ichd.vision.manifest import MANIFEST_NAME, read_manifest
from ichd.vision.shelf import find_bundle

#: As `ichd.vision.bundle` writes it; that module loads torch.
WEIGHTS_NAME = "weights.safetensors"


def check_bundle(name_or_path: str) -> ModelIdentity:
    """The identity of a bundle whose manifest is valid and whose weights are the ones that it names.

    What the weights hold is not looked at: `ichd model verify` does that.

    Raises:
        UserError: there is no such bundle, or it is damaged; the message names the mend.
    """
    folder = find_bundle(name_or_path)
    try:
        manifest = read_manifest(folder)
    except Permanent as error:
        raise UserError(f"model.bundle: {error}") from error
    weights = folder / WEIGHTS_NAME
    try:
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"model.bundle: {weights} can't be read ({error.strerror}); copy the whole folder of the bundle again"
        ) from error
    if sha256 != manifest.weights.sha256:
        raise UserError(
            f"model.bundle: {weights} is not the file that its {MANIFEST_NAME} names, "
            "it was changed or damaged; copy the whole folder of the bundle again"
        )
    return manifest.identity
