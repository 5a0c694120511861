"""What made an object of ours: our program as its equipment, and the algorithm and the scanner as what contributed."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.coding import Code

from ichd.domain.finding import ModelIdentity, Prediction
from ichd.report import codes
from ichd.report.identity import algorithm_uid
from ichd.report.items import coded

MANUFACTURER = "ichd"
#: Attributes of the scanner that an item has room for (PS3.3 table C.12-1), with the characters that each holds.
#: Operators, addresses and departments are left with the images: nobody needs them to tell a scanner from another.
_OF_A_SCANNER = {"ManufacturerModelName": 64, "StationName": 16, "DeviceSerialNumber": 64, "SoftwareVersions": 64}


def equip(dataset: Dataset, software_version: str, model: ModelIdentity | None, scanner: Dataset | None) -> None:
    """Enhanced General Equipment (PS3.3 C.7.5.2) and Contributing Equipment (C.12.1.1.5).

    The weights are what tells one of our devices from another. `model` is None where none read the study; `scanner` is
    the header of an image that the object is derived from, None for what is no image.
    """
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = MANUFACTURER
    software_version = plain(software_version, limit=64)
    contributors = [] if scanner is None else _acquisition(scanner)
    if model is None:
        dataset.DeviceSerialNumber = software_version
        dataset.SoftwareVersions = software_version
    else:
        dataset.DeviceSerialNumber = model.weights_sha256[:16]
        dataset.SoftwareVersions = [software_version, plain(f"{model.name} {model.version}", limit=64)]
        contributors.append(_algorithm(model, software_version))
    if contributors:
        dataset.ContributingEquipmentSequence = contributors


def scanner_of(sources: Sequence[Dataset], prediction: Prediction) -> Dataset | None:
    """A header of the series that was read; another series of the study may come from another scanner."""
    read = prediction.series_instance_uid
    return next((each for each in sources if each.get("SeriesInstanceUID") == read), None)


def plain(text: str, *, limit: int | None = None) -> str:
    """ASCII, since the character set is the source's and need not hold our letters."""
    return text.encode("ascii", "replace").decode("ascii").strip()[:limit]


def _algorithm(model: ModelIdentity, software_version: str) -> Dataset:
    """What read the images, as IHE AIR has it: Manufacturer is who put it to use, as in the equipment itself.

    Its Device UID goes by the bundle, thresholds and calibration included, and its serial number by the weights.
    """
    item = _contributor(codes.PROCESSING_EQUIPMENT, MANUFACTURER, "Detection of intracranial hemorrhage in head CT")
    item.ManufacturerModelName = plain(model.name, limit=64)
    item.DeviceSerialNumber = model.weights_sha256[:16]
    item.SoftwareVersions = [plain(model.version, limit=64), plain(f"{MANUFACTURER} {software_version}", limit=64)]
    item.DeviceUID = algorithm_uid(model.bundle_sha256)
    return item


def _acquisition(scanner: Dataset) -> list[Dataset]:
    """The scanner, where the images name its maker, without whom there is no item (type 1)."""
    manufacturer = _words(scanner.get("Manufacturer"), 64)
    if not manufacturer:
        return []
    item = _contributor(codes.ACQUISITION_EQUIPMENT, manufacturer[0], "Acquisition of the source images")
    for keyword, limit in _OF_A_SCANNER.items():
        if values := _words(scanner.get(keyword), limit):
            setattr(item, keyword, values if keyword == "SoftwareVersions" else values[0])
    return [item]


def _contributor(purpose: Code, manufacturer: str, description: str) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [coded(purpose)]
    item.Manufacturer = manufacturer
    item.ContributionDescription = description
    return item


def _words(value: object, limit: int) -> list[str]:
    """The values of a header's attribute, those that are none left out."""
    values = value if isinstance(value, MultiValue) else [value]
    return [words for each in values if isinstance(each, str) and (words := plain(each, limit=limit))]
