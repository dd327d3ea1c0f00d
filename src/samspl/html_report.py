"""One evaluation as one HTML page that needs no other file and no network, on screen and on paper.

Works on plain values, as `samspl.report` does. Charts are inline SVG, pictures inline PNG; every name is
escaped, and the page forbids the browser to fetch anything. Lines differ in colour *and* dash, the colours
are Okabe and Ito's.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

BLUE, ORANGE = "#0072b2", "#b85000"
"""Okabe and Ito's blue, and their vermilion darkened until small letters in it are readable on white."""
CHART_WH = (440, 332)
"""Size of a chart in its own units; it is scaled to the width of the page."""
PLOT_BOX = (64, 32, 414, 274)
"""Left, top, right and bottom of the axes within a chart."""
TICKS = 5
"""Steps that an axis is divided into."""
STYLE = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:0 auto;max-width:74rem;padding:1.2rem;background:#fff;color:#1b1b1b;
 font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
h1{font-size:1.65rem;line-height:1.25;margin:.2rem 0 1rem}
h2{font-size:1.2rem;margin:2rem 0 .5rem;padding-bottom:.25rem;border-bottom:1px solid #ccc}
h3{font-size:1rem;margin:.2rem 0}
p{margin:.4rem 0;max-width:46rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.6rem 1.4rem;margin:0}
dt{font-size:.85rem;color:#555}
dd{margin:0;font-weight:600;overflow-wrap:anywhere}
.wide{grid-column:1/-1}
.wide dd{font:.9rem ui-monospace,"DejaVu Sans Mono",monospace}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .9rem .3rem 0;text-align:left;border-bottom:1px solid #e2e2e2;vertical-align:top}
thead th{border-bottom:2px solid #888}
td small{display:block;color:#555;font-size:.8rem;white-space:nowrap}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1.4rem}
.grid table{width:100%}
.grid th,.grid td{white-space:nowrap;padding-right:.6rem}
.grid td:last-child{width:45%;padding-right:0}
.grid>*{min-width:0;break-inside:avoid}
figure{margin:0;break-inside:avoid}
figure img,svg{display:block;width:100%;height:auto}
figcaption{padding-top:.3rem;font-size:.9rem;color:#333;overflow-wrap:anywhere}
.bar{display:block;width:100%;min-width:2.5rem;height:.8rem;margin-top:.35rem;background:#e6e6e6;
 print-color-adjust:exact;-webkit-print-color-adjust:exact}
.bar i{display:block;height:100%;background:#0072b2}
.note{margin:1.2rem 0;background:#f2f6fa;border-left:4px solid #0072b2;padding:.5rem .9rem;max-width:none;
 print-color-adjust:exact;-webkit-print-color-adjust:exact}
@media(max-width:34rem){body{padding:.8rem}table{font-size:.92rem}th,td{padding-right:.5rem}
 section>.scroll td small{white-space:normal}}
@media print{html{font-size:10px}body{padding:0}h2,h2+p{break-after:avoid}
 .grid{grid-template-columns:repeat(3,1fr)}}
"""
MEANING = {
    "published": "The field's rules, at the evaluation size: comparable with figures in papers. A false alarm "
    "whose area equals that of a hit in the same image is not counted, and an image with nothing in it "
    "counts 0 in nIoU.",
    "strict": "At each image's own size. Targets are matched optimally (centroids nearer than 3 px), every "
    "predicted component without a partner is a false alarm, and images with nothing in either mask are left "
    "out of nIoU.",
}
"""What the profiles are, in a sentence or two."""


class Bin(NamedTuple):
    """Targets within a range of some property."""

    low: float
    """Lower end, included."""
    high: float
    """Upper end, excluded; infinite for the last."""
    hits: int
    """Targets hit."""
    targets: int
    """True targets."""


class Picture(NamedTuple):
    """One of the worst images."""

    name: str
    """Name of the image."""
    caption: str
    """What went wrong in it."""
    png: bytes
    """The overlay as a PNG file."""


class Line(NamedTuple):
    """One line of a chart."""

    label: str
    """Name in the legend."""
    points: Sequence[tuple[float, float]]
    """Points, in the units of the axes."""
    colour: str
    """CSS colour."""
    dash: str = ""
    """SVG dash pattern; solid if empty."""


class Chart(NamedTuple):
    """Lines over a common x axis; the y axis reaches from 0 to 1."""

    title: str
    """Heading."""
    summary: str
    """What it says, in words, for those who cannot see it and beneath it for all."""
    x_label: str
    """Name and unit of the x axis."""
    y_label: str
    """Name of the y axis."""
    x_max: float
    """Right end of the x axis, which starts at 0."""
    lines: Sequence[Line]
    """Parts beyond the right end are cut off."""
    mark: tuple[float, float] | None = None
    """Where the figures of the table stand."""


def render_page(
    title: str,
    facts: Sequence[tuple[str, str]],
    table: Sequence[Sequence[str]],
    notes: Sequence[str] = (),
    curve: Mapping[str, Any] | None = None,
    operating_point: Mapping[str, Any] | None = None,
    bins: Mapping[str, Sequence[Bin]] | None = None,
    pictures: Sequence[Picture] = (),
) -> str:
    """The whole page.

    Args:
        title: Heading.
        facts: Names and values that make the figures comparable.
        table: Header and rows of the table of figures, see `samspl.report.evaluation_cells`; what stands in
            brackets goes to a line of its own.
        notes: Sentences that stand out, such as which threshold to use.
        curve: `Curve.to_dict()`; None: no charts.
        operating_point: Figures of the `strict` profile at the threshold used, marked in the charts; None: no
            mark.
        bins: By heading, targets in ranges of a property.
        pictures: The worst images, worst first.
    Returns:
        HTML; everything that came in is escaped.
    """
    sections = [
        f"<header><h1>{escape(title)}</h1>{_facts(facts)}</header>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        _figures(table),
    ]
    if curve is not None:
        charts = "".join(_figure(chart) for chart in _charts(curve, operating_point))
        sections.append(
            "<section><h2>Over all thresholds</h2><p>Rules of the strict profile, every image at its own "
            f'size. The ring marks the threshold of this page.</p><div class="grid">{charts}</div></section>'
        )
    if bins:
        tables = "".join(_bins(heading, rows) for heading, rows in bins.items())
        sections.append(
            "<section><h2>Which targets are found</h2><p>Targets hit under the strict profile, at the "
            f'threshold of this page.</p><div class="grid">{tables}</div></section>'
        )
    if pictures:
        sections.append(
            "<section><h2>Worst images</h2><p>Most misses and false alarms first, then lowest IoU. Blue "
            "circle: hit; orange square: miss; yellow triangle: false alarm.</p>"
            f'<div class="grid">{"".join(_picture(picture) for picture in pictures)}</div></section>'
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    kind = {name: "wide" if name in ("checksum", "weights") else "short" for name, _ in facts}
    cells = (
        f'<div class="{kind[name]}"><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>'
        for name, value in sorted(facts, key=lambda fact: kind[fact[0]])  # short ones first
    )
    return f"<dl>{''.join(cells)}</dl>"


def _figures(table: Sequence[Sequence[str]]) -> str:
    header, *rows = table
    head = "".join(f'<th scope="col">{escape(cell) or "figure"}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(_cell(cell) for cell in row[1:])}</tr>'
        for row in rows
    )
    meanings = "".join(
        f"<p><strong>{name}</strong>: {MEANING[name]}</p>" for name in header if name in MEANING
    )
    return (
        f'<section><h2>Figures</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div><p>Beneath each figure: 95 % interval, from 2000 resamples of the "
        f"images. Pd: targets hit / targets; Fa: false pixels / all pixels.</p>{meanings}</section>"
    )


def _cell(text: str) -> str:
    value, bracket, interval = text.partition(" [")
    return f"<td>{escape(value)}{f'<small>[{escape(interval)}</small>' if bracket else ''}</td>"


def _bins(heading: str, bins: Sequence[Bin]) -> str:
    rows = []
    for low, high, hits, targets in bins:
        span = f"{low:g} and more" if high == float("inf") else f"{low:g} to below {high:g}"
        share = hits / targets if targets else None
        bar = "" if share is None else f'<span class="bar"><i style="width:{100 * share:.1f}%"></i></span>'
        shown = "-" if share is None else f"{100 * share:.1f} %"
        rows.append(
            f'<tr><th scope="row">{span}</th><td>{hits}/{targets}</td><td>{shown}</td><td>{bar}</td></tr>'
        )
    head = "".join(f'<th scope="col">{cell}</th>' for cell in ("range", "hit", "Pd", ""))
    return (
        f"<div><h3>{escape(heading)}</h3><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    name, caption = escape(picture.name), escape(picture.caption)
    return (
        f'<figure><img alt="Overlay of {name}: {caption}" src="data:image/png;base64,{data}">'
        f"<figcaption><strong>{name}</strong>: {caption}</figcaption></figure>"
    )


def _charts(curve: Mapping[str, Any], point: Mapping[str, Any] | None) -> list[Chart]:
    """Pd over Fa, precision over recall, and IoU and Pd over the threshold; those that are defined."""
    at = dict(point or {})
    thresholds = curve["thresholds"]
    span = f"{len(thresholds)} thresholds from {thresholds[0]:g} to {thresholds[-1]:g}"
    charts = []
    if curve["auc"] is not None:
        limit = curve["auc_max_fa"]
        x_max = _round_up(1e6 * max(limit, 1.2 * (at.get("fa") or 0.0)))
        dots = sorted((1e6 * fa, pd) for fa, pd in zip(curve["fa"], curve["pd"], strict=True))
        beyond = sum(x > x_max for x, _ in dots)
        charts.append(
            Chart(
                "Pd over Fa",
                f"Area up to Fa {1e6 * limit:g}e-6: {curve['auc']:.3f} (1 is perfect), best Pd at or below "
                f"each Fa; {span}" + (f", {beyond} of them beyond the right edge." if beyond else "."),
                "Fa, false pixels in a million",
                "Pd",
                x_max,
                [Line("Pd", _staircase(dots, x_max), BLUE)],
                _mark(1e6 * at["fa"] if at.get("fa") is not None else None, at.get("pd")),
            )
        )
    if curve["average_precision"] is not None:
        charts.append(
            Chart(
                "Precision over recall",
                f"Of pixels. Average precision {curve['average_precision']:.3f} (1 is perfect); {span}.",
                "recall",
                "precision",
                1.0,
                [Line("precision", _known(curve["recall"], curve["precision"]), BLUE)],
                _mark(at.get("recall"), at.get("precision")),
            )
        )
    over_threshold = [
        Line("IoU", _known(thresholds, curve["iou"]), BLUE),
        Line("Pd", _known(thresholds, curve["pd"]), ORANGE, "7 4"),
    ]
    best = max((value, -t) for t, value in over_threshold[0].points) if over_threshold[0].points else None
    charts.append(
        Chart(
            "IoU and Pd over the threshold",
            f"Highest IoU here: {100 * best[0]:.2f} % at {-best[1]:g}." if best else "No foreground at all.",
            "threshold",
            "IoU, Pd",
            1.0,
            [line for line in over_threshold if line.points],
            _mark(at.get("threshold"), at.get("iou")),
        )
    )
    return charts


def _known(x: Sequence[float | None], y: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]


def _mark(x: float | None, y: float | None) -> tuple[float, float] | None:
    return None if x is None or y is None else (x, y)


def _staircase(dots: Sequence[tuple[float, float]], x_max: float) -> list[tuple[float, float]]:
    """The best y so far, up to the right end; 0 before the first dot."""
    points, best = [(0.0, 0.0)], 0.0
    for x, y in dots:
        if x > x_max:
            break
        if y > best:
            points += [(x, best), (x, y)]
            best = y
    return [*points, (x_max, best)]


def _round_up(value: float) -> float:
    """The next of 1, 2, 2.5 or 5 times a power of ten."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value)


def _figure(chart: Chart) -> str:
    return (
        f"<figure><h3>{escape(chart.title)}</h3>{_svg(chart)}"
        f"<figcaption>{escape(chart.summary)}</figcaption></figure>"
    )


def _svg(chart: Chart) -> str:
    width, height = CHART_WH
    left, top, right, bottom = PLOT_BOX

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / chart.x_max, bottom - (bottom - top) * y

    parts = [f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#444"/>']
    for k in range(TICKS + 1):
        x, y = place(chart.x_max * k / TICKS, k / TICKS)
        parts.append(f'<path d="M{left} {y:.1f}H{right}M{x:.1f} {top}V{bottom}" stroke="#e4e4e4"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">{chart.x_max * k / TICKS:g}</text>'
        )
        parts.append(f'<text x="{left - 8}" y="{y + 5:.1f}" text-anchor="end">{k / TICKS:g}</text>')
    for line in chart.lines:
        points = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line.points)
        # a line of one point shows as a dot, thanks to its round ends
        points += f" {points}" if len(line.points) == 1 else ""
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2.5" '
            f'stroke-linecap="round" stroke-linejoin="round" stroke-dasharray="{line.dash}"/>'
        )
    if chart.mark is not None and chart.mark[0] <= chart.x_max:
        x, y = place(*chart.mark)
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="#fff" stroke="#1b1b1b" stroke-width="2.5"/>'
        )
    if len(chart.lines) > 1:
        parts.append(_legend(chart.lines))
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    parts.append(
        f'<text x="{middle_x}" y="{height - 14}" text-anchor="middle">{escape(chart.x_label)}</text>'
        f'<text x="18" y="{middle_y}" text-anchor="middle" transform="rotate(-90 18 {middle_y})">'
        f"{escape(chart.y_label)}</text>"
    )
    name = escape(f"{chart.title}. {chart.summary}")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}" font-size="15" fill="#333" '
        f'font-family="inherit">{"".join(parts)}</svg>'
    )


def _legend(lines: Sequence[Line]) -> str:
    """Above the axes, where no line runs."""
    left, top, _, _ = PLOT_BOX
    entries = []
    for k, line in enumerate(lines):
        x, y = left + 110 * k, top - 12
        entries.append(
            f'<path d="M{x} {y - 5}h34" stroke="{line.colour}" stroke-width="2.5" '
            f'stroke-dasharray="{line.dash}"/><text x="{x + 42}" y="{y}">{escape(line.label)}</text>'
        )
    return "".join(entries)
