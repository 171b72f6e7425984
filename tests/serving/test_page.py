"""The page in a browser: headless Chromium, where it and the package playwright are installed."""

import json
import shutil

import pytest
from PIL import Image, ImageDraw
from serving_material import picture, running, turned

from svhn_jax.data.crop import Box

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed; pip install -e .[dev]"
)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PHOTO = picture(400, 200)
DROP = """([bytes, name, type]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, {type}));
  return data;
}"""


@pytest.fixture(scope="module")
def browser():
    sync_api.expect.set_options(timeout=60_000)  # the machine may be busy
    with sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def served():
    with running() as server:
        server.reader.place = Box(100, 50, 200, 100)
        yield server


def visit(browser, served, **options):
    """A new window on the page. It fails the test at the end if anything went wrong or outside."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.wrong = []
    own = f"{served.address}/"
    page.on("console", lambda line: page.wrong.append(line.text))
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on(
        "request",
        lambda one: one.url.startswith((own, "blob:" + own, "data:")) or page.wrong.append(one.url),
    )
    page.goto(own)
    return page


def drop(page, content, name="door.png", type="image/png"):
    page.dispatch_event(
        "body", "drop", {"dataTransfer": page.evaluate_handle(DROP, [list(content), name, type])}
    )


def expect_number(page, number, sure):
    sync_api.expect(page.locator("#status")).to_contain_text(f"Number {number}: {sure}")
    assert "".join(page.locator("#digits b").all_inner_texts()) == number


def expect_box(page, left, top, width, height):
    label = f"Box around the number: left {left}, top {top}, width {width}, height {height}"
    sync_api.expect(page.locator("#box")).to_have_attribute("aria-label", label)


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def point(page, x, y):
    """Where the photo's pixel (x, y) is in the window."""
    frame = page.locator("#photo").bounding_box()
    return frame["x"] + x * frame["width"] / 400, frame["y"] + y * frame["height"] / 200


def box_read(page, served):
    """The box of the last reading, when the page shows it."""
    sync_api.expect(page.locator("#sure strong")).to_have_text("50 % sure")
    return served.reader.seen[-1][1]


def close(page):
    assert page.wrong == []
    page.context.close()


def test_drop_read_move_draw_resize_and_download(browser, served):
    page = visit(browser, served)
    drop(page, PHOTO)
    expect_number(page, "42", "97 % sure")
    assert page.locator("#digits span").all_inner_texts() == ["99 %", "98 %"]
    assert page.locator("#sure em").is_hidden()
    frame = page.locator("#box").bounding_box()
    assert (frame["x"], frame["y"]) == pytest.approx(point(page, 100, 50), abs=1)
    drag(page, point(page, 150, 75), point(page, 190, 95))  # the box itself
    assert box_read(page, served) == pytest.approx((140, 70, 100, 50), abs=1.5)
    sync_api.expect(page.locator("#status")).to_have_text("Number 42: 50 % sure, please check")
    assert page.locator("#digits .check").all_inner_texts() == ["2\n60 %"]
    drag(page, point(page, 241, 121), point(page, 340, 150))  # its lower right corner
    expect_box(page, 140, 70, 199, 79)
    drag(page, point(page, 60, 150), point(page, 20, 20))  # a new one, drawn upwards
    expect_box(page, 20, 20, 40, 130)
    sync_api.expect(page.locator("#download")).to_be_enabled()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    assert download.value.suggested_filename == "door.json"
    with open(download.value.path()) as file:
        result = json.load(file)
    assert (result["file"], result["reading"], result["found"]) == ("door.png", "42", None)
    assert [*result["box"].values()] == pytest.approx([20, 20, 40, 130], abs=1.5)
    page.get_by_role("button", name="Whole photo").click()
    sync_api.expect(page.locator("#box")).to_be_hidden()
    sync_api.expect(page.locator("#download")).to_be_enabled()
    assert served.reader.seen[-1][1] == "whole"
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Another photo").click()
    chooser.value.set_files({"name": "b.png", "mimeType": "image/png", "buffer": PHOTO})
    expect_number(page, "42", "97 % sure")
    close(page)


def test_a_phone_by_touch_without_sideways_scrolling(browser, served):
    page = visit(
        browser,
        served,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        color_scheme="dark",
    )
    assert page.locator("#take").is_visible()
    page.locator("#take input").set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": PHOTO}
    )
    expect_number(page, "42", "97 % sure")
    touch = page.context.new_cdp_session(page)
    for kind, at in (("Start", (150, 75)), ("Move", (170, 85)), ("Move", (190, 95)), ("End", None)):
        points = [dict(zip("xy", point(page, *at), strict=True))] if at else []
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    assert box_read(page, served) == pytest.approx((140, 70, 100, 50), abs=1.5)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    close(page)


def shown_at(page, x, y):
    """The brightness of the shown photo at a share of its width and height."""
    return page.evaluate(
        """([x, y]) => {
          const photo = document.getElementById("photo"), canvas = document.createElement("canvas");
          canvas.width = canvas.height = 1;
          const paint = canvas.getContext("2d");
          const [left, top] = [x * photo.naturalWidth, y * photo.naturalHeight];
          paint.drawImage(photo, left, top, 1, 1, 0, 0, 1, 1);
          return paint.getImageData(0, 0, 1, 1).data[0];
        }""",
        [x, y],
    )


@pytest.mark.parametrize("side", [200, 400])
@pytest.mark.parametrize("format", ["WEBP", "PNG", "JPEG", "TIFF"])
def test_the_page_shows_the_photo_that_the_reader_reads(browser, served, format, side):
    """Chromium turns no WebP, and shows no TIFF; upside down, or a square, the size is the same."""
    image = Image.new("RGB", (400, side), "gray")
    ImageDraw.Draw(image).rectangle((0, 0, 99, 49), fill="white")
    page = visit(browser, served)
    drop(page, turned(image, 3, format), "door", f"image/{format.lower()}")
    expect_number(page, "42", "97 % sure")
    photo, _ = served.reader.seen[-1]
    for place in ((0.1, 0.1), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
        read = photo.getpixel((place[0] * photo.width, place[1] * photo.height))[0]
        assert shown_at(page, *place) == pytest.approx(read, abs=9)
    close(page)


def test_paste_a_wide_tiff_then_a_file_that_is_no_photo(browser, served):
    page = visit(browser, served)
    served.reader.place = Box(1600, 100, 2400, 300)
    wide = list(picture(3200, 400, "TIFF", compression="tiff_lzw"))
    data = page.evaluate_handle(DROP, [wide, "wide.tif", "image/tiff"])
    page.evaluate("data => dispatchEvent(new ClipboardEvent('paste', {clipboardData: data}))", data)
    expect_box(page, 1600, 100, 800, 200)
    assert page.locator("#photo").evaluate("one => one.naturalWidth") == 1600
    frame, photo = page.locator("#box").bounding_box(), page.locator("#photo").bounding_box()
    assert frame["x"] == pytest.approx(photo["x"] + photo["width"] / 2, abs=1)
    page.locator("#box").focus()
    page.keyboard.press("Shift+ArrowDown")
    expect_box(page, 1600, 100, 800, 216)
    drop(page, b"no picture", "a.txt", "text/plain")
    sync_api.expect(page.get_by_role("alert")).to_contain_text("Not a readable image")
    assert page.locator("#stage").is_hidden()
    assert [one for one in page.wrong if "422" not in one] == []  # the browser logs it
    page.context.close()
