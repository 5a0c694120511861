"""CT images in every transfer syntax that the doors take, made by encoders that know nothing of our decoders.

dcmtk encodes what is uncompressed, RLE and all of JPEG (the two retired processes too), pydicom with its plug-ins JPEG
2000 and near-lossless JPEG-LS, OpenJPH HTJ2K.
"""

import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import UID

Transcoder = Callable[[Path, Path], None]


def transcode(source: Path, folder: Path, transfer_syntax_uid: str) -> Path:
    """A copy of an uncompressed image in another transfer syntax; all UIDs stay."""
    target = folder / f"{source.stem}.{transfer_syntax_uid}.dcm"
    _TRANSCODERS[transfer_syntax_uid](source, target)
    assert dcmread(target, stop_before_pixels=True).file_meta.TransferSyntaxUID == transfer_syntax_uid
    return target


def encapsulated(source: Path, target: Path, transfer_syntax_uid: str, frame: bytes, **options: Any) -> None:
    """An unsigned copy of an image whose pixels are replaced by a compressed frame."""
    image = _unsigned(source)
    image.PixelData = encapsulate([frame], **options)
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
    image.save_as(target)


def htj2k(source: Path, *options: str) -> bytes:
    """The codestream of OpenJPH; its input, a PGM, has no signed values."""
    image = _unsigned(source)
    pixels = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    raw, stream = source.with_suffix(".pgm"), source.with_suffix(".j2c")
    raw.write_bytes(f"P5\n{image.Columns} {image.Rows}\n65535\n".encode() + pixels)
    _run("ojph_compress", "openjph-tools", ["-i", str(raw), "-o", str(stream), *options])
    content = stream.read_bytes()
    raw.unlink()
    stream.unlink()
    return content


def _unsigned(source: Path) -> Dataset:
    """The same image for encoders that take no signed pixels; those of the phantom are never negative."""
    image = dcmread(source)
    assert np.frombuffer(image.PixelData, "<i2").min() >= 0
    image.PixelRepresentation = 0
    return image


def _run(program: str, package: str, arguments: Sequence[str]) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed (Debian: apt-get install {package})")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def _dcmtk(program: str, *options: str) -> Transcoder:
    # dcmtk would give a lossy copy a UID of its own.
    own_uid = [] if program == "dcmconv" else ["+un"]
    return lambda source, target: _run(program, "dcmtk", [*options, *own_uid, str(source), str(target)])


def _pydicom(transfer_syntax_uid: str, *, signed: bool = True, **options: Any) -> Transcoder:
    def compress(source: Path, target: Path) -> None:
        image = dcmread(source) if signed else _unsigned(source)
        image.compress(transfer_syntax_uid, generate_instance_uid=False, **options)
        image.save_as(target)

    return compress


def _openjph(transfer_syntax_uid: str, *options: str) -> Transcoder:
    return lambda source, target: encapsulated(source, target, transfer_syntax_uid, htj2k(source, *options))


_TRANSCODERS: Mapping[str, Transcoder] = {
    "1.2.840.10008.1.2": _dcmtk("dcmconv", "+ti"),
    "1.2.840.10008.1.2.1": _dcmtk("dcmconv", "+te"),
    "1.2.840.10008.1.2.2": _dcmtk("dcmconv", "+tb"),
    "1.2.840.10008.1.2.1.99": _dcmtk("dcmconv", "+td"),
    "1.2.840.10008.1.2.5": _dcmtk("dcmcrle"),
    "1.2.840.10008.1.2.4.50": _dcmtk("dcmcjpeg", "+eb", "+q", "100"),
    "1.2.840.10008.1.2.4.51": _dcmtk("dcmcjpeg", "+ee", "+bt"),
    "1.2.840.10008.1.2.4.53": _dcmtk("dcmcjpeg", "+es", "+bt"),
    "1.2.840.10008.1.2.4.55": _dcmtk("dcmcjpeg", "+ep", "+bt"),
    "1.2.840.10008.1.2.4.57": _dcmtk("dcmcjpeg", "+el", "+sv", "4"),
    "1.2.840.10008.1.2.4.70": _dcmtk("dcmcjpeg", "+e1"),
    "1.2.840.10008.1.2.4.80": _dcmtk("dcmcjpls", "+el"),
    "1.2.840.10008.1.2.4.81": _pydicom("1.2.840.10008.1.2.4.81", signed=False, jls_error=2),
    "1.2.840.10008.1.2.4.90": _pydicom("1.2.840.10008.1.2.4.90"),
    "1.2.840.10008.1.2.4.91": _pydicom("1.2.840.10008.1.2.4.91", j2k_cr=[8]),
    "1.2.840.10008.1.2.4.201": _openjph("1.2.840.10008.1.2.4.201", "-reversible", "true"),
    "1.2.840.10008.1.2.4.202": _openjph("1.2.840.10008.1.2.4.202", "-reversible", "true", "-prog_order", "RPCL"),
    "1.2.840.10008.1.2.4.203": _openjph("1.2.840.10008.1.2.4.203", "-reversible", "false", "-qstep", "0.00002"),
}
