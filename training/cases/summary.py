"""What there is to say of an index: figures for its `facts`, and the same as tables for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ichd.domain.finding import CLASSES
from training.cases.index import SPLITS
from training.cases.leaving import kind_of_reason
from training.cases.order import spacing_facts

Cells = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table for people."""

    title: str
    columns: Cells
    rows: tuple[Cells, ...]
    #: Stands below.
    note: str = ""


def counts_of(images: pl.DataFrame) -> Mapping[str, Any]:
    """Figures of an index's images, as JSON takes them."""
    used = images.filter(pl.col("left_out").is_null())
    return {
        "files": len(images),
        "images": len(used),
        "studies": used["study_id"].n_unique(),
        "patients": used["patient_id"].n_unique(),
        "left_out": _left_out(images),
        "studies_left_out_whole": images["study_id"].drop_nulls().n_unique() - used["study_id"].n_unique(),
        "spacing": spacing_facts(used),
        "prevalence": _prevalence(used),
        "encodings": _encodings(used),
        "splits": _splits(used),
    }


def sections(facts: Mapping[str, Any]) -> Iterator[Section]:
    """`facts` of an index as tables, in the order in which somebody asks."""
    counts, labels, how = facts["counts"], facts["labels"], facts["split"]
    yield _found(counts, labels)
    if counts["left_out"]:
        yield Section(
            title="Left out",
            columns=("reason", "images", "for example"),
            rows=tuple(
                (reason, _n(each["images"]), ", ".join(each["first"])) for reason, each in counts["left_out"].items()
            ),
        )
    yield Section(
        title="Prevalence",
        columns=("class", "images", "studies"),
        rows=tuple((name, _of(each["images"]), _of(each["studies"])) for name, each in counts["prevalence"].items()),
    )
    yield Section(
        title="Pixel encodings",
        columns=("encoding", "images", "share", "any"),
        rows=tuple(
            (name, _n(each["images"]), _share(each["images"], counts["images"]), _of(each["any"]))
            for name, each in counts["encodings"].items()
        ),
    )
    yield Section(
        title="Splits",
        columns=("split", "patients", "studies", "images", "studies with any"),
        rows=tuple(
            (name, _n(each["patients"]), _n(each["studies"]), _n(each["images"]), _of(each["any"]))
            for name, each in counts["splits"].items()
        ),
        note=_rule_in_words(how),
    )


def _found(counts: Mapping[str, Any], labels: Mapping[str, Any]) -> Section:
    spacing = counts["spacing"]
    gap = "-" if spacing["gap_mm_median"] is None else f"{spacing['gap_mm_median']:g} mm"
    lines: list[tuple[str, Any, str]] = [
        ("files", counts["files"], ""),
        ("images used", counts["images"], ""),
        ("studies", counts["studies"], f"median {spacing['slices_a_study_median'] or 0:g} slices, {gap} apart"),
        ("patients", counts["patients"], ""),
        ("studies left out as wholes", counts["studies_left_out_whole"], ""),
        ("studies without Patient ID", counts["studies_without_patient_id"], "each counts as a patient of its own"),
        ("studies with uneven spacing", spacing["studies_with_uneven_spacing"], ""),
        (
            "studies with duplicate positions",
            spacing["studies_with_duplicate_positions"],
            f"{_n(spacing['images_at_duplicate_positions'])} images; ordered by identifier",
        ),
        ("studies with one slice", spacing["studies_with_one_slice"], _some(spacing["first_studies_with_one_slice"])),
    ]
    if labels:
        repeated = labels.get("repeated_rows", 0)
        lines += [
            ("label rows", labels["rows"], ""),
            ("repeated label rows", repeated, f"of {_n(labels.get('of_repeated_rows', 0))} {_labelled(labels)}"),
            (f"{_labelled(labels)} with unknown classes", labels["with_unknown_classes"], ""),
            (f"{_labelled(labels)} with faulty labels", labels["faults"], ""),
            ("labels without an image", labels["without_image"], _some(labels["first_without_image"])),
            ("images without a label", labels["images_without_label"], _some(labels["first_images_without_label"])),
        ]
    always = {"files", "images used", "studies", "patients", "label rows"}
    rows = tuple((what, _n(count), note) for what, count, note in lines if count or what in always)
    return Section(title="Found", columns=("what", "count", ""), rows=rows)


def _left_out(images: pl.DataFrame) -> dict[str, Any]:
    named = pl.coalesce("image_id", pl.col("path").str.extract(r"([^/\\]+)$"))
    kinds = (
        images.filter(pl.col("left_out").is_not_null())
        .group_by(kind=kind_of_reason())
        .agg(pl.len(), first=named.sort().head(3))
        .sort("len", "kind", descending=[True, False])
    )
    return {row["kind"]: {"images": row["len"], "first": row["first"]} for row in kinds.iter_rows(named=True)}


def _prevalence(used: pl.DataFrame) -> dict[str, Any]:
    slices = used.filter(pl.col("label_level") == "slice")
    studies = by_study(used)
    return {name: {"images": _positives(slices, name), "studies": _positives(studies, name)} for name in CLASSES}


def by_study(used: pl.DataFrame) -> pl.DataFrame:
    """One row a study with its split and classes: 1 where an image has it, 0 where all lack it, else null."""
    return used.group_by("study_id").agg(
        pl.col("split").first(),
        *(
            pl.when((pl.col(name) == 1).any()).then(1).when(pl.col(name).null_count() == 0).then(0).cast(pl.Int8)
            .alias(name)
            for name in CLASSES
        ),
    )  # fmt: skip


def _encodings(used: pl.DataFrame) -> dict[str, Any]:
    found = {}
    for (name,), images in sorted(used.group_by("encoding"), key=lambda each: (-len(each[1]), str(each[0]))):
        slices = images.filter(pl.col("label_level") == "slice")
        found[str(name)] = {
            "images": len(images),
            "studies": images["study_id"].n_unique(),
            "any": _positives(slices, "any"),
        }
    return found


def _splits(used: pl.DataFrame) -> dict[str, Any]:
    studies = by_study(used)
    found: dict[str, Any] = {}
    for name in SPLITS:
        images = used.filter(pl.col("split") == name)
        found[name] = {
            "patients": images["patient_id"].n_unique(),
            "studies": images["study_id"].n_unique(),
            "images": len(images),
            "any": _positives(studies.filter(pl.col("split") == name), "any"),
        }
    return found


def _positives(rows: pl.DataFrame, name: str) -> dict[str, int]:
    known = rows[name].drop_nulls()
    return {"positive": int(known.sum()), "known": len(known)}


def _rule_in_words(how: Mapping[str, Any]) -> str:
    words = str(how["rule"])
    if "seed" in how:
        words += f", seed {how['seed']}"
    if "shared_patients" in how:
        done = {"keep": "kept", "drop": "not learnt from"}[how["shared_patients_rule"]]
        words += f"; patients on both sides: {how['shared_patients']}, {done}"
    if how.get("filled_up"):
        words += f"; too few patients: {' and '.join(how['filled_up'])} had none by chance and was given one"
    return words


def _labelled(labels: Mapping[str, Any]) -> str:
    return "images" if labels["level"] == "slice" else "studies"


def _n(count: int) -> str:
    return f"{count:,}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _of(counted: Mapping[str, int]) -> str:
    """As "108 of 2,214 (4.88 %)"; nothing known is a dash."""
    known = counted["known"]
    return f"{_n(counted['positive'])} of {_n(known)} ({_share(counted['positive'], known)})" if known else "-"


def _some(names: list[str]) -> str:
    return ", ".join(names)
