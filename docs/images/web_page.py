"""Draw web_page.png and web_phone.png: the page with a sample scene, on a desk and on a phone in the dark.

Run from anywhere, with the extra `ui`, `pip install playwright` and a chromium: `python docs/images/web_page.py`.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SCENE = "sea16"
VIEWS = {
    "web_page": {"viewport": {"width": 1400, "height": 1000}, "color_scheme": "light"},
    "web_phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
SERVE = [sys.executable, "-m", "samspl", "serve", "--port", "0", "--device", "cpu"]

folder = Path(__file__).parent
with subprocess.Popen(SERVE, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
    assert server.stdout is not None
    address = server.stdout.readline().split()[0]
    browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    for name, view in VIEWS.items():
        page = browser.new_context(**view).new_page()
        page.goto(address)
        page.click(f"#samples button[data-name={SCENE}]")
        page.wait_for_selector("text=/\\d+ targets? in/")
        page.wait_for_timeout(1500)  # pictures fade in
        page.screenshot(path=folder / f"{name}.png", full_page=True)
    browser.close()
    server.terminate()
