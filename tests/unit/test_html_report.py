import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from samspl.html_report import Bin, Picture, render_page

FACTS = [("data set", "NUAA-SIRST"), ("checksum", "ab" * 32)]
TABLE = [["", "published", "strict"], ["Pd", "90.00 % (9/10) [80.00 %, 95.00 %]", "-"]]
CURVE = {
    "thresholds": [0.2, 0.5, 0.8],
    "pd": [1.0, 0.8, 0.4],
    "fa": [500e-6, 50e-6, 10e-6],
    "iou": [0.3, 0.7, 0.6],
    "precision": [0.4, 0.8, 1.0],
    "recall": [0.9, 0.8, 0.6],
    "auc": 0.56,
    "auc_max_fa": 1e-4,
    "average_precision": 0.75,
}
POINT = {"pd": 0.8, "fa": 50e-6, "recall": 0.8, "precision": 0.8, "iou": 0.7, "threshold": 0.5}
VOID = {"meta", "img", "br"}


class Nesting(HTMLParser):
    """Checks that tags close in order, and collects attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def charts_of(page: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.S)]


def test_page_is_well_formed_and_shows_what_came_in() -> None:
    bins = {"By size": [Bin(1, 5, 1, 4), Bin(5, float("inf"), 0, 0)]}
    picture = Picture("a/b", "1 hit, 2 misses", b"png bytes")
    page = render_page("Title", FACTS, TABLE, ["Use 0.5."], CURVE, POINT, bins, [picture])
    parsed = Nesting(page)
    assert parsed.open == []
    text = " ".join(parsed.words)
    for words in (
        "NUAA-SIRST",
        "ab" * 32,
        "90.00 % (9/10)",
        "[80.00 %, 95.00 %]",
        "Use 0.5.",
        "1 hit, 2 misses",
    ):
        assert words in text
    assert "1 to below 5" in text
    assert "25.0 %" in text
    assert "5 and more" in text
    data = next(value for tag, name, value in parsed.attributes if (tag, name) == ("img", "src"))
    assert base64.b64decode(data.removeprefix("data:image/png;base64,")) == b"png bytes"


def test_page_fetches_nothing() -> None:
    page = render_page("t", FACTS, TABLE, [], CURVE, POINT, {}, [Picture("a", "b", b"c")])
    assert "default-src 'none'" in page
    assert "http" not in page.replace('http-equiv="Content', "")
    for tag, name, value in Nesting(page).attributes:
        assert tag not in ("script", "link", "iframe")
        if name in ("src", "href", "data", "action"):
            assert value.startswith("data:image/png;base64,")


def test_names_from_data_are_escaped_everywhere() -> None:
    evil = "<script>alert(1)</script>\"'&"
    page = render_page(
        evil,
        [(evil, evil)],
        [["", evil], [evil, f"{evil} [{evil}]"]],
        [evil],
        CURVE,
        POINT,
        {evil: [Bin(1, 2, 1, 1)]},
        [Picture(evil, evil, b"")],
    )
    parsed = Nesting(page)
    assert parsed.open == []
    assert "script" not in {tag for tag, _, _ in parsed.attributes}
    assert "<script" not in page
    alt = next(value for tag, name, value in parsed.attributes if (tag, name) == ("img", "alt"))
    assert alt == f"Overlay of {evil}: {evil}"


def test_pd_over_fa_is_a_staircase_of_the_best_so_far_cut_at_the_right_edge() -> None:
    svg = charts_of(render_page("t", FACTS, TABLE, [], CURVE, POINT))[0]
    (line,) = [element for element in svg if element.tag == "polyline"]
    left, top, right, bottom = 64, 32, 414, 274

    def at(fa_ppm: float, pd: float) -> str:
        return f"{left + (right - left) * fa_ppm / 100:.1f},{bottom - (bottom - top) * pd:.1f}"

    expected = [at(0, 0), at(10, 0), at(10, 0.4), at(50, 0.4), at(50, 0.8), at(100, 0.8)]
    assert line.get("points").split() == expected
    (ring,) = [element for element in svg if element.tag == "circle"]
    assert f"{ring.get('cx')},{ring.get('cy')}" == at(50, 0.8)
    assert "1 of them beyond the right edge" in svg.get("aria-label")


def test_staircase_never_falls() -> None:
    falling = CURVE | {"pd": [0.6, 0.7, 0.8], "fa": [90e-6, 60e-6, 30e-6]}
    (line,) = [e for e in charts_of(render_page("t", FACTS, TABLE, [], falling))[0] if e.tag == "polyline"]
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights, reverse=True)  # y grows downwards
    assert len(heights) == 4


def test_axis_widens_for_a_program_with_many_false_alarms() -> None:
    svg = charts_of(render_page("t", FACTS, TABLE, [], CURVE, POINT | {"fa": 1100e-6}))[0]
    assert "2000" in [element.text for element in svg if element.tag == "text"]
    assert [element.tag for element in svg].count("circle") == 1


def test_charts_that_are_undefined_are_left_out() -> None:
    empty = CURVE | {"auc": None, "average_precision": None, "pd": [None] * 3, "recall": [None] * 3}
    assert len(charts_of(render_page("t", FACTS, TABLE, [], CURVE, None))) == 3
    (only,) = charts_of(render_page("t", FACTS, TABLE, [], empty, None))
    assert only.get("aria-label").startswith(
        "IoU and Pd over the threshold. Highest IoU here: 70.00 % at 0.5"
    )
    nothing = empty | {"iou": [None] * 3}
    (only,) = charts_of(render_page("t", FACTS, TABLE, [], nothing, dict.fromkeys(POINT)))
    assert [element.tag for element in only].count("polyline") == 0
    assert charts_of(render_page("t", FACTS, TABLE)) == []


def test_every_chart_and_picture_has_words_for_those_who_cannot_see_it() -> None:
    page = render_page("t", FACTS, TABLE, [], CURVE, POINT, {}, [Picture("a", "b", b"")])
    assert all(svg.get("role") == "img" and svg.get("aria-label") for svg in charts_of(page))
    assert '<html lang="en">' in page
    tables = [value for tag, name, value in Nesting(page).attributes if (tag, name) == ("th", "scope")]
    assert set(tables) == {"col", "row"}


@pytest.mark.parametrize("colour", ["#0072b2", "#b85000", "#555", "#333"])
def test_letters_and_lines_stand_out_from_white(colour: str) -> None:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    assert 1.05 / (luminance + 0.05) >= 4.5  # WCAG AA
    assert colour in render_page("t", FACTS, TABLE, [], CURVE, POINT)
