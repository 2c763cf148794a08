"""The README's pictures, from a home whose graph is made and whose UI runs: `python docs/make_pictures.py ADDRESS`.

Needs Debian's chromium and chromium-driver.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

PICTURES = Path(__file__).parent / "pictures"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
)
SETTLE_SECONDS = 6


def browser(width: int, height: int) -> webdriver.Chrome:
    """A fresh Chromium of that window size."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--window-size={width},{height}", f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def take(address: str, path: str, name: str, size: tuple[int, int], click: str | None = None) -> None:
    """Save a picture of a page, after a click on the first thing that says `click`."""
    page = browser(*size)
    page.get(f"{address}/{path}")
    time.sleep(SETTLE_SECONDS)
    if click:
        for found in page.find_elements(By.XPATH, f"//*[contains(text(), '{click}')]")[:1]:
            found.click()
            time.sleep(SETTLE_SECONDS / 2)
    page.save_screenshot(str(PICTURES / name))
    page.quit()


def main(address: str) -> None:
    """Write the graph, the page of the fine-tuned model, and the evaluation's answers."""
    PICTURES.mkdir(exist_ok=True)
    expanded = "asset-groups?expanded=" + ",".join(
        f"phi_assets:__repository__:{group}"
        for group in ("infrastructure", "dataset", "training", "evaluation", "serving", "chat")
    )
    take(address, expanded, "graph.png", (2200, 1100))
    take(address, "assets/fine_tuned_model", "fine_tuned_model.png", (1600, 1700), click="Show Markdown")
    take(address, "assets/model_evaluation", "evaluation.png", (1600, 1500), click="Show Markdown")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
