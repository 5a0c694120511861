"""Secrets of peers, from the settings or from a file that they name."""

from pathlib import Path

from ichd.domain.errors import UserError


def secret_of(value: str | None, file: Path | None) -> str | None:
    """A secret, None where there is none.

    Raises:
        UserError: the file can't be read.
    """
    if file is None:
        return value
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UserError(f"the secret file {file} can't be read: {why}; name another, or let our user read it") from None
