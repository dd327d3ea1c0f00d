"""The page in a real browser: what a visitor sees, not only that it loads."""

import io
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.imaging import write_image
from tests.unit.web.server import FakeDetector, served, spots

pytest.importorskip("gradio", reason="needs pip install 'samspl[ui]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
PATIENCE_MS = 30_000


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory() as uploads, served(Path(uploads)) as one:
        yield one


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser, server):
    """The page, just opened; fails if a script fails or the page asks another server for anything."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            wrong.append(request.url) if not request.url.startswith((server.url, "data:", "blob:")) else None
        ),
    )
    opened.goto(server.url)
    opened.wait_for_selector("#samples button")
    yield opened
    context.close()
    assert wrong == []


@pytest.fixture
def frame(tmp_path):
    """A 16-bit frame with three spots."""
    write_image(tmp_path / "frame.tiff", spots(np.uint16))
    return tmp_path / "frame.tiff"


def choose(page, *files):
    page.set_input_files("#files input[type=file]", [str(file) for file in files])


def wait_for(page, words):
    page.wait_for_function(
        "words => document.querySelector('#results .summary')?.textContent.includes(words)", arg=words
    )


def wait_until(page, holds):
    """For what is no state of the page."""
    for _ in range(PATIENCE_MS // 20):
        if holds():
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"waited {PATIENCE_MS} ms in vain")


def set_threshold(page, value):
    page.fill("#threshold input[type=number]", str(value))
    page.press("#threshold input[type=number]", "Enter")


def rows(page):
    return [row.split("\t") for row in page.locator("#results tbody tr").all_inner_texts()]


def brightness(page):
    """Mean grey value of the picture as the browser has it."""
    return page.evaluate(
        """async () => {
            const shown = new Image();
            shown.src = document.querySelector("#results svg image").getAttribute("href");
            await shown.decode();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [shown.width, shown.height];
            const drawn = canvas.getContext("2d");
            drawn.drawImage(shown, 0, 0);
            const values = drawn.getImageData(0, 0, canvas.width, canvas.height).data;
            return values.filter((_, i) => i % 4 === 0).reduce((a, b) => a + b) / (values.length / 4);
        }"""
    )


def test_upload_shows_targets_over_the_image_and_in_a_table(page, frame):
    assert "Nothing to show yet" in page.inner_text("#results")
    choose(page, frame)
    wait_for(page, "2 targets in frame.tiff at threshold 0.50")
    assert rows(page) == [
        ["1", "11.0", "5.5", "3 × 2", "6", "0.80", "50000", "–"],
        ["2", "31.0", "20.5", "3 × 2", "6", "0.60", "37500", "–"],
    ]
    assert "60 × 40 · 16-bit · weights bright" in page.inner_text("#results .facts")
    assert page.locator("#results svg text").all_text_contents() == ["1", "2"]
    page.wait_for_selector("#results .busy", state="hidden")
    assert brightness(page) > 0.5
    # the first marker lies around the first target, on the screen
    box = page.locator("#results svg .line").first.bounding_box()
    picture = page.locator("#results svg image").bounding_box()
    scale = picture["width"] / 60
    centre = (
        (box["x"] + box["width"] / 2 - picture["x"]) / scale,
        (box["y"] + box["height"] / 2 - picture["y"]) / scale,
    )
    assert centre == pytest.approx((11.5, 6.0), abs=0.3)
    assert page.locator("#files").inner_text().count("frame.tiff") == 0  # ready for the next


def test_slider_acts_without_a_second_run_of_the_network(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    runs = FakeDetector.calls
    set_threshold(page, 0.3)
    wait_for(page, "3 targets in frame.tiff at threshold 0.30")
    assert len(rows(page)) == 3
    slider = page.locator("#threshold input[type=range]")
    slider.focus()
    for _ in range(4):
        page.keyboard.press("PageUp")
    wait_for(page, "at threshold 0.")
    page.wait_for_function("document.querySelectorAll('#results tbody tr').length < 3")
    set_threshold(page, 0.9)
    wait_for(page, "0 targets in frame.tiff at threshold 0.90")
    assert page.locator("#results table").is_hidden()
    assert page.locator("#results svg .line").count() == 0
    assert FakeDetector.calls == runs


def test_slider_moved_while_the_network_runs_counts(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    runs = FakeDetector.calls
    FakeDetector.may_go_on.clear()
    try:
        choose(page, frame)
        wait_until(page, lambda: FakeDetector.calls > runs)
        set_threshold(page, 0.3)
        wait_for(page, "3 targets in frame.tiff at threshold 0.30")  # of the results that are there
        token = page.locator("#results svg image").get_attribute("href")
    finally:
        FakeDetector.may_go_on.set()
    page.wait_for_function(
        "token => document.querySelector('#results svg image').getAttribute('href') !== token", arg=token
    )
    wait_for(page, "3 targets in frame.tiff at threshold 0.30")


def test_downloads_hold_what_is_seen(page, frame, tmp_path):
    choose(page, frame)
    wait_for(page, "2 targets in frame.tiff")
    set_threshold(page, 0.7)
    wait_for(page, "1 target in frame.tiff at threshold 0.70")
    got = {}
    for link in page.locator("#results .downloads a").all():
        with page.expect_download() as waiting:
            link.click()
        got[waiting.value.suggested_filename] = Path(waiting.value.path()).read_bytes()
    assert sorted(got) == ["frame_mask.png", "frame_overlay.png", "targets.csv"]
    mask = np.asarray(Image.open(io.BytesIO(got["frame_mask.png"])))
    assert np.array_equal(mask == 255, spots() > 175)
    lines = got["targets.csv"].decode().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("frame.tiff,11.0,5.5,")
    assert Image.open(io.BytesIO(got["frame_overlay.png"])).mode == "RGB"


def test_several_files_are_shown_one_at_a_time_and_packed_together(page, frame, tmp_path):
    write_image(tmp_path / "dark.png", np.zeros((30, 30), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    choose(page, frame, tmp_path / "dark.png", tmp_path / "notes.txt")
    wait_for(page, "2 targets in frame.tiff")
    buttons = page.locator("#results .strip button")
    assert buttons.all_inner_texts() == ["frame.tiff2", "dark.png0"]
    assert buttons.nth(0).get_attribute("aria-pressed") == "true"
    assert "notes.txt: this is no image that can be read" in page.inner_text("#results .problems")
    buttons.nth(1).click()
    wait_for(page, "0 targets in dark.png")
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    with page.expect_download() as waiting:
        page.click("text=All 2 images (ZIP)")
    names = zipfile.ZipFile(waiting.value.path()).namelist()
    assert "mask/frame.png" in names
    assert "mask/dark.png" in names


def test_sample_is_found_by_a_click_and_by_keyboard(page):
    page.click("#samples button[data-name=sea16]")
    page.wait_for_selector("#results .found:not([hidden])")
    assert "in sea16.png at threshold 0.50" in page.inner_text("#results .summary")
    assert "320 × 256 · 16-bit" in page.inner_text("#results .facts")
    page.focus("#samples button[data-name=sky]")
    page.keyboard.press("Enter")
    wait_for(page, "in sky.png")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "notes.txt",
            b"words",
            "notes.txt: this is no image that can be read; expected PNG, JPEG, BMP, TIFF or NPY",
        ),
        ("empty.png", b"", "empty.png: the file is empty (0 bytes); copy it again"),
        ("half.tiff", b"II*\0", "half.tiff is truncated or damaged"),
    ],
)
def test_file_that_cannot_be_used_is_said_in_words(page, tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    choose(page, tmp_path / name)
    page.wait_for_selector("#results .problems:not([hidden])")
    said = page.inner_text("#results .problems")
    assert words in said
    assert "/" not in said  # no path of the server
    assert page.locator("#results .problems").get_attribute("role") == "alert"


def test_file_that_is_too_large_is_said_in_words(page, tmp_path):
    (tmp_path / "big.tiff").write_bytes(bytes(2 * 2**20))
    choose(page, tmp_path / "big.tiff")
    said = page.locator(".toast-body").first
    said.wait_for()
    assert re.search(r"exceed|larger than", said.inner_text())
    assert re.search(r"\b1(\.0+)? ?MB", said.inner_text(), re.I)


def test_name_of_a_file_is_never_taken_for_html(page, tmp_path):
    name = "<img src=x onerror=window.hurt=1>.png"
    write_image(tmp_path / "x.png", spots())
    (tmp_path / "x.png").rename(tmp_path / name)
    choose(page, tmp_path / name)
    wait_for(page, "2 targets")
    assert "onerror" in page.inner_text("#results .summary")
    assert page.evaluate("window.hurt") is None


def shown(page):
    """The part of the image that is seen: left, top, width, height."""
    return [float(v) for v in page.get_attribute("#results svg", "viewBox").split()]


def test_zoom_by_buttons_keys_and_table(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    assert shown(page) == [0, 0, 60, 40]
    page.click("#results [data-zoom=in]")
    assert shown(page) == [15, 10, 30, 20]
    page.focus("#results .viewer")
    page.keyboard.press("+")
    assert shown(page)[2:] == [15, 10]
    x = shown(page)[0]
    page.keyboard.press("ArrowRight")
    assert shown(page)[0] > x
    page.keyboard.press("0")
    assert shown(page) == [0, 0, 60, 40]
    page.click("#results tbody tr:nth-child(2) button")
    left, top, width, height = shown(page)
    assert (left + width / 2, top + height / 2) == pytest.approx((31.5, 21.0), abs=0.01)
    assert width < 60
    set_threshold(page, 0.3)  # what one looks at stays
    wait_for(page, "3 targets")
    assert shown(page) == [left, top, width, height]
    page.click("#results [data-zoom=all]")
    assert shown(page) == [0, 0, 60, 40]


def test_dragging_moves_the_picture_and_ends_with_the_button_wherever_it_is_released(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    box = page.locator("#results .viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(box["x"] - 40, y)
    page.mouse.up()
    page.focus("#results .viewer")
    page.keyboard.press("+")
    assert shown(page) == [15, 10, 30, 20]
    page.mouse.move(x, y)
    page.mouse.move(x + 50, y)
    assert shown(page) == [15, 10, 30, 20]
    page.mouse.down()
    page.mouse.move(x + 100, y)
    page.mouse.up()
    assert shown(page)[0] < 15
    assert shown(page)[1:] == [10, 30, 20]


def test_a_finger_moves_the_picture_that_was_zoomed(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    page.click("#results [data-zoom=in]")
    box = page.locator("#results .viewer").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, at in (("touchStart", x), ("touchMove", x + 30), ("touchMove", x + 90), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert shown(page)[0] < 15


def test_keys_of_the_browser_are_left_to_it(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    page.click("#results [data-zoom=in]")
    page.focus("#results .viewer")
    page.evaluate(
        """() => {
            window.taken = [];
            window.addEventListener("keydown", event => {
                if (["Control", "Alt", "Meta"].includes(event.key)) return;
                window.taken.push(event.defaultPrevented);
                event.preventDefault();  // the test's own browser shall not zoom or go back
            });
        }"""
    )
    for keys in ("Control+Equal", "Control+Minus", "Control+0", "Meta+0", "Alt+ArrowLeft"):
        page.keyboard.press(keys)
    assert page.evaluate("window.taken") == [False] * 5
    assert shown(page) == [15, 10, 30, 20]
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("window.taken.at(-1)") is True


def test_mark_of_the_chosen_target_stays_with_it_when_others_come_and_go(page, tmp_path):
    write_image(tmp_path / "frame.png", spots()[::-1])  # the faintest is the first
    choose(page, tmp_path / "frame.png")
    wait_for(page, "2 targets")

    def chosen():
        lines = page.locator("#results svg .line").all()
        return [k for k, line in enumerate(lines) if "chosen" in line.get_attribute("class")]

    page.click("#results tbody tr:nth-child(1) button")
    assert chosen() == [0]
    set_threshold(page, 0.3)
    wait_for(page, "3 targets")
    assert chosen() == [1]
    set_threshold(page, 0.7)  # it is gone, and the one that is left was never chosen
    wait_for(page, "1 target")
    assert chosen() == []
    set_threshold(page, 0.3)
    wait_for(page, "3 targets")
    assert chosen() == []


def test_picture_after_one_that_failed_is_said_to_be_loading(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    page.route(re.compile(r"image\.png\?stretch"), lambda route: route.fulfill(status=404))
    choose(page, frame)
    page.wait_for_function("document.querySelector('#results .busy').textContent.includes('no longer kept')")
    assert page.is_visible("#results .busy")
    page.unroute_all()
    held = []
    page.route(re.compile(r"image\.png\?stretch"), lambda route: held.append(route))
    choose(page, frame)
    page.wait_for_function("document.querySelector('#results .busy').textContent === 'Loading the picture'")
    wait_until(page, lambda: held)
    for route in held:
        route.continue_()
    page.wait_for_selector("#results .busy", state="hidden")


def test_contrast_changes_the_picture_and_nothing_else(page, tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(8000, 8100, (60, 60)).astype(np.uint16)
    image[30:33, 30:33] = 60000
    write_image(tmp_path / "hot.png", image)
    choose(page, tmp_path / "hot.png")
    wait_for(page, "1 target")
    table = rows(page)
    seen = {}
    for name in ("Least to largest", "Cut 1 %"):
        page.click("#stretch input")
        page.click(f"[role=option]:has-text('{name}')")
        page.wait_for_function(
            """name => document.querySelector("#results svg image").getAttribute("href")
                .endsWith("?" + new URLSearchParams({ stretch: name }))""",
            arg=name,
        )
        seen[name] = brightness(page)
    assert seen["Least to largest"] < 5
    assert seen["Cut 1 %"] > 80
    assert rows(page) == table


def test_other_weights_are_run_on_the_images_that_are_there(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    page.click("#weights input")
    page.click("[role=option]:has-text('dim')")
    wait_for(page, "2 targets in frame.tiff at threshold 0.20")
    assert page.input_value("#threshold input[type=number]") == "0.2"
    assert "weights dim" in page.inner_text("#results .facts")
    page.click("#weights input")
    page.click("[role=option]:has-text('broken')")
    page.wait_for_selector("#results .problems:not([hidden])")
    assert "broken is damaged; copy it again" in page.inner_text("#results .problems")


def test_two_visitors_see_their_own_and_nothing_stays_when_one_leaves(browser, server, page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    mine = page.get_attribute("#results svg image", "href")
    other = browser.new_context().new_page()
    other.goto(server.url)
    other.wait_for_selector("#samples button")
    assert "Nothing to show yet" in other.inner_text("#results")
    other.click("#samples button[data-name=clouds]")
    wait_for(other, "clouds.png")
    # only now: of two events within some hundredths of a second gradio may lose one
    set_threshold(other, 0.9)
    wait_for(other, "clouds.png at threshold 0.90")
    theirs = other.get_attribute("#results svg image", "href")
    assert mine.split("/")[2] != theirs.split("/")[2]
    assert "2 targets in frame.tiff at threshold 0.50" in page.inner_text("#results .summary")
    assert page.request.get(server.url + theirs.removeprefix(".")).status == 200
    other.context.close()
    wait_until(page, lambda: page.request.get(server.url + theirs.removeprefix(".")).status == 404)
    assert page.request.get(server.url + mine.removeprefix(".")).status == 200


def test_results_that_are_gone_are_said_to_be(page, server, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    for visitor in list(server.app.state.sessions._by_visitor):
        server.app.state.sessions.close(visitor)
    set_threshold(page, 0.3)
    page.wait_for_selector("#results .problems:not([hidden])")
    assert "no longer kept; choose the images again" in page.inner_text("#results .problems")


def test_threshold_that_makes_no_sense_is_said_in_words(page, frame):
    choose(page, frame)
    wait_for(page, "2 targets")
    page.evaluate("document.querySelector('#threshold input[type=number]').removeAttribute('max')")
    set_threshold(page, 1)
    page.wait_for_selector("#results .problems:not([hidden])")
    assert "expected a number between 0 and 1" in page.inner_text("#results .problems")
    assert "2 targets in frame.tiff at threshold 0.50" in page.inner_text("#results .summary")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_page_fits_its_width_and_can_be_read(browser, server, width, scheme):
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, is_mobile=width < 500
    )
    page = context.new_page()
    page.goto(server.url)
    page.click("#samples button[data-name=buildings16]", timeout=PATIENCE_MS)
    page.wait_for_selector("#results .found:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    viewer = page.locator("#results .viewer").bounding_box()
    assert viewer["width"] > 0.6 * width
    for selector in (
        "#head p",
        "#results .summary",
        "#results .facts",
        "#results .downloads a",
        "#samples small",
    ):
        assert contrast(page, selector) >= 4.5, selector  # of WCAG, level AA
    context.close()


def contrast(page, selector):
    """Contrast of text against what lies behind it, as WCAG defines it."""
    return page.evaluate(
        """selector => {
            const numbers = colour => {
                const drawn = document.createElement("canvas").getContext("2d");
                drawn.fillStyle = colour;
                drawn.fillRect(0, 0, 1, 1);
                return [...drawn.getImageData(0, 0, 1, 1).data];
            };
            const light = colour => numbers(colour).slice(0, 3).map(v => v / 255)
                .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            let behind = document.querySelector(selector);
            const text = light(getComputedStyle(behind).color);
            while (behind && numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            const ground = light(behind ? getComputedStyle(behind).backgroundColor : "white");
            return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
        }""",
        selector,
    )
