"""report."""

import struct
from pathlib import Path
from typing import Annotated, Any

import typer

from ichd.cli.output import AsJson, print_json
from ichd.domain.errors import IchdError, UserError
from ichd.telemetry import configure_logging

#: What pydicom raises on bytes that are no data set: it has no error of its own for a bad VR, length or value.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    struct.error,
)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(report)


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Structured Report written by ichd.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Hold it against TID 1500 instead; exit code 1 where it deviates."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a Structured Report readably, or whether it follows its template."""
    from ichd.report.printed import render_text
    from ichd.report.readable import read_document

    configure_logging("critical")
    dataset = _read_whole(file)
    if check:
        _check_template(file, dataset, as_json=as_json)
        return
    readable = read_document(dataset)
    if as_json:
        print_json(readable.to_dict())
    else:
        typer.echo(render_text(readable))


def _check_template(file: Path, dataset: Any, *, as_json: bool) -> None:
    from ichd.report.template import deviations

    if "ContentSequence" not in dataset:
        raise UserError(f"{file} has no content tree; name a Structured Report")
    found = deviations(dataset)
    if as_json:
        print_json({"deviations": [{"path": d.path, "row": d.row, "what": d.what} for d in found]})
    else:
        for deviation in found:
            typer.echo(str(deviation))
        typer.echo(f"{len(found)} deviations from TID 1500" if found else "it follows TID 1500")
    if found:
        raise typer.Exit(1)


def _read_whole(file: Path) -> Any:
    """The data set with every element parsed: pydicom reads one when it is asked for, and damage must be found here.

    Raises:
        UserError, IchdError: it can't be.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(file)
        dataset.decode()
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; name a Structured Report") from None
    except (InvalidDicomError, IsADirectoryError):
        raise UserError(f"{file} is not a DICOM file; name a Structured Report") from None
    except OSError as error:
        raise IchdError(f"{file} can't be read: {error.strerror}") from error
    except _DAMAGE as error:
        raise UserError(f"{file} is damaged DICOM; give the file as a destination received it") from error
    return dataset
