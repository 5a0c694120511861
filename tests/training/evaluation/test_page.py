"""The report page: says what it must, and needs nothing but itself."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import etree

from ichd.domain.finding import CLASSES
from tests.training.evaluation.made import made_readings, made_report
from training.evaluation.page import interval, p_value, render_page, share, write_page
from training.measures.interval import Interval


@pytest.fixture(scope="module")
def page() -> str:
    readings = made_readings(36, unknown=0.02, skill=1.0)
    return render_page(made_report(readings, against=made_readings(36, unknown=0.02, skill=0.7)), readings)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def text_of(page: str) -> str:
    parser = _Text()
    parser.feed(page)
    return " ".join(" ".join(parser.words).split())


def test_it_says_which_model_read_what_and_how_far_to_believe_it(page: str) -> None:
    words = text_of(page)
    for needed in (
        "resnet50 2026.1",
        "ab" * 32,
        "cd" * 32,
        "split “test”",
        "demonstration only",
        "trained on",
        "0.42 s",
    ):
        assert needed.lower() in words.lower()
    assert "nothing here says how it reads patients" in words
    assert words.index("Before you believe") < words.index("By slice")


def test_every_class_has_its_figures_and_every_prevalence_its_values(page: str) -> None:
    words = text_of(page)
    assert all(words.count(name) >= 4 for name in CLASSES)
    assert all(f" {prevalence} % " in words for prevalence in ("1.0", "2.7", "10.0"))
    assert "12-bit unsigned -1024" in words
    assert "resnet50-2d" in words


def test_it_loads_nothing(page: str) -> None:
    loaded = re.findall(r"(?:src|href|action)\s*=\s*[\"']([^\"']*)", page) + re.findall(r"url\(([^)]*)", page)
    assert loaded
    assert all(one.startswith("data:image/svg+xml;base64,") for one in loaded)
    assert "http" not in page.lower().replace("http-equiv", "")
    assert "<script" not in page


def test_its_figures_are_drawings_that_load_nothing_and_are_the_same_each_time(page: str) -> None:
    drawings = [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)]
    assert len(drawings) == 4
    for svg in drawings:
        root = etree.fromstring(svg, parser=etree.XMLParser(load_dtd=False, no_network=True))
        links = root.xpath("//@*[local-name() = 'href']")
        assert all(str(link).startswith("#") for link in links)
    readings = made_readings(36, unknown=0.02, skill=1.0)
    assert page == render_page(made_report(readings, against=made_readings(36, unknown=0.02, skill=0.7)), readings)


def test_where_no_scan_bleeds_the_page_has_dashes_and_no_areas() -> None:
    readings = [one for one in made_readings(12) if not one.truth_C.any()]
    words = text_of(render_page(made_report(readings), readings))
    assert "AUC of any haemorrhage, scans – 0 of 8 bleed" in words


def test_names_from_data_are_text(tmp_path: Path) -> None:
    readings = made_readings(6)
    readings[0] = replace(readings[0], groups={"manufacturer": "<script>alert(1)</script>"})
    write_page(tmp_path / "page.html", made_report(readings), readings)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_figures_are_worded_once() -> None:
    one = Interval(value=0.95, low=0.9, high=0.981)
    assert interval(one) == "0.9500 (0.9000 to 0.9810)"
    assert share(one) == "95.0 % (90.0 to 98.1)"
    assert (interval(None), share(None), p_value(0.0004), p_value(0.04)) == ("–", "–", "< 0.001", "0.040")
