"""Takes the screenshots of the documentation from a running Dagster UI, whose home has a complete graph.

`python -m docs_generator.pictures ADDRESS [azure|automation]`. Needs Debian's chromium and chromium-driver.
"""

import shutil
import sys
import tempfile
import time

from selenium import webdriver
from selenium.webdriver.common.by import By

from docs_generator.markdown import DOCS
from tests.support.chromium import FLAGS

PICTURES = DOCS / "pictures"
SETTLE_SECONDS = 10


def browser(width: int, height: int, scale: float) -> webdriver.Chrome:
    """Start a Chromium with a new profile, this window size and this scale factor."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    size = (f"--window-size={width},{height}", f"--force-device-scale-factor={scale}")
    for flag in (*FLAGS, *size, f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def take(
    address: str, path: str, name: str, size: tuple[int, int], click: str | None = None, scale: float = 1.0
) -> None:
    """Save a screenshot of a page, after a click on the first element whose text contains `click`, links first."""
    page = browser(*size, scale)
    page.get(f"{address}/{path}")
    time.sleep(SETTLE_SECONDS)
    if click:
        elements = page.find_elements(By.XPATH, f"//*[contains(text(), '{click}')]")
        for element in sorted(elements, key=lambda element: element.tag_name not in ("a", "button"))[:1]:
            element.click()
            time.sleep(SETTLE_SECONDS / 2)
            page.execute_script("document.querySelectorAll('*').forEach(element => { element.scrollTop = 0 })")
    page.save_screenshot(str(PICTURES / name))
    page.quit()


def take_laptop(address: str) -> None:
    """Save the graph, the page of the fine-tuned model, and the evaluation's answers."""
    groups = ("infrastructure", "dataset", "training", "evaluation", "serving", "chat")
    expanded = ",".join(f"global%40global%3A{group}" for group in groups)
    take(address, f"asset-groups?expanded={expanded}", "graph.png", (3400, 1500), scale=0.6)
    take(address, "assets/fine_tuned_model", "fine_tuned_model.png", (1600, 1000), click="Show Markdown")
    take(address, "assets/model_evaluation", "evaluation.png", (1600, 1500), click="Show Markdown")


def take_automation(address: str) -> None:
    """Save the lineage from the deployment back to the conversations, and a tick of the policy with its reason."""
    upstream = "view=lineage&lineageScope=upstream&lineageDepth=9"
    take(address, f"assets/online_deployment?{upstream}", "lineage.png", (1800, 1350))
    take(
        address, "locations/phi_assets/sensors/retraining_policy", "retraining.png", (1600, 900), click="runs requested"
    )


def take_azure(address: str) -> None:
    """Save the graph with each resource of its infrastructure, and the page of the deployment."""
    graph = (
        "asset-groups?expanded=global%40global%3Ainfrastructure"  # the window shows the whole graph at a reduced scale
    )
    take(address, graph, "azure_graph.png", (4200, 2400), scale=0.6)
    take(address, "assets/online_deployment", "azure_endpoint.png", (1600, 1500))


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    takers = {"azure": take_azure, "automation": take_automation}
    takers.get("".join(sys.argv[2:]), take_laptop)(sys.argv[1].rstrip("/"))
