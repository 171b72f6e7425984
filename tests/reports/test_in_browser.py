"""The reports in a browser: headless Chromium, where it is installed."""

import html
import shutil
import subprocess

import pytest
from reports_material import prepared, run_results

from svhn_jax.reports import data_report, run_report

CHROMIUM = (
    shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
PROBE = """<iframe id="page" width="390" height="800" srcdoc="{}"></iframe>
<script>onload = () => {{
  const page = document.getElementById("page").contentDocument;
  const wide = [...page.querySelectorAll("body *")].filter(
    (one) => one.getBoundingClientRect().right > 391 && !one.closest(".scroll, pre, svg"));
  document.title = `${{page.scrollingElement.scrollWidth}} ${{page.images.length}} ` +
    `${{[...page.images].filter((one) => !one.naturalWidth).length}} ${{wide.map((one) => one.outerHTML.slice(0, 60))}}`;
}};</script>"""


def browse(tmp_path, page):
    """What Chromium makes of a page: the DOM after loading, and its console."""
    path = tmp_path / "page.html"
    path.write_text(page)
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/profile",
    ]
    command = [CHROMIUM, *options, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize(("kind", "max_digits"), [("run", 5), ("run", 20), ("data", 5)])
def test_no_console_error_and_no_sideways_scrolling_on_a_phone(tmp_path, kind, max_digits):
    page = (
        run_report.render(run_results(60, max_digits=max_digits))
        if kind == "run"
        else data_report.render(prepared(tmp_path))
    )
    dom, console = browse(tmp_path, page)
    assert console == []
    assert "</html>" in dom
    dom, console = browse(tmp_path, PROBE.format(html.escape(page)))
    title = dom[dom.index("<title>") + 7 : dom.index("</title>")] if "<title>" in dom else dom[:200]
    width, images, broken, wide = title.split(" ", 3)
    assert (int(width) <= 390, int(images) > 0, broken, wide) == (True, True, "0", "")
