"""Dagster's UI as `phi` serves it, in a real browser: its pages work, and no page of another origin can use it."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import pytest

from tests.browser.conftest import end, start_dagster
from tests.support.background import Background, copied, wait
from tests.support.chromium import chromium, text_of, wait_for
from tests.support.foreign_page import ATTACKS, LEAVES, foreign_page
from tests.support.server_process import free_port

pytestmark = [pytest.mark.browser, pytest.mark.integration, pytest.mark.timeout(300)]

PAGES = {
    "/asset-groups": "evaluation",
    "/assets/chat_dataset": "Never materialized",
    "/runs": "No runs found",
    "/automation": "now_and_then",
    "/locations": "Loaded",
}
MORE_PAGES = {
    "/assets": "chat_dataset",
    "/locations/phi_assets/sensors/retraining_policy": "Sensor in",
    "/assets/chat_dataset?view=lineage": "fine_tuned_model",
    "/assets/chat_dataset?view=checks": "schema",
    "/health": "Event Log Consumer",
    "/config": "run_storage",
    "/concurrency": "training",
    "/jobs": "counting",
    "/locations/phi_assets/jobs/counting": "Job in",
    "/locations/phi_assets/schedules/nightly": "Schedule in",
    "/overview/activity/timeline": "Timeline",
}
TYPE = """
const editor = document.querySelector('.graphiql-query-editor .CodeMirror');
if (editor) editor.CodeMirror.setValue(arguments[0]);
return Boolean(editor);
"""
SWITCH = "return document.querySelector('input[type=checkbox]')?.checked"
BUSY = "return document.querySelector('input[type=checkbox]')?.disabled"
PRIZE = dg.AssetKey("prize")
MUTATION = """
mutation {
  wipeAssets(assetPartitionRanges: [{assetKey: {path: ["prize"]}}]) { __typename }
  launchRun(executionParams: {selector: {repositoryLocationName: "phi_assets", repositoryName: "__repository__",
    jobName: "count_words"}}) { __typename }
}
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("chromium"), network=True) as opened:
        opened.implicitly_wait(2)
        yield opened


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Iterator[Background]:
    its = copied(tmp_path_factory.mktemp("guarded"))
    its.start()
    try:
        yield its
    finally:
        its.phi("down")
        its.end()


@pytest.fixture(scope="module")
def foreign() -> Iterator[int]:
    with foreign_page() as port:
        yield port


@pytest.mark.parametrize("page", [*PAGES, *(pytest.param(each, marks=pytest.mark.long) for each in MORE_PAGES)])
def test_a_page_of_the_ui_works_and_the_guard_refuses_nothing_of_it(browser, ui: Background, page: str):
    begin(browser)
    browser.get(ui.address + page)
    wait_for(browser, lambda opened: {**PAGES, **MORE_PAGES}[page] in text_of(opened))

    seen = until_quiet(browser)
    assert any(its["method"] == "Network.responseReceived" and "/graphql" in url_of(its) for its in seen)
    assert refused(seen) == []
    assert violations(browser) == []


def test_the_launchpad_starts_a_run_whose_log_lines_appear_as_they_are_written(browser, ui: Background):
    begin(browser)
    browser.get(f"{ui.address}/locations/phi_assets/jobs/counting/playground")
    click(browser, "//button[contains(., 'Launch Run') and not(@disabled)]")
    wait_for(browser, lambda opened: "/runs/" in opened.current_url)
    browser.execute_script("window.kept = true")

    wait_for(browser, lambda opened: "the number is" in text_of(opened))
    seen: list[dict[str, Any]] = []
    wait("a later line", lambda: seen.extend(messages(browser)) or "the number is 4" in lines_of_websockets(seen))
    wait_for(browser, lambda opened: "the number is 4" in text_of(opened))

    assert browser.execute_script("return window.kept")  # the page was not loaded again
    run = browser.current_url.rpartition("/runs/")[2].partition("?")[0]
    assert ui.outcome(run) == "STARTED"
    terminate = f'mutation {{ terminateRun(runId: "{run}") {{ __typename }} }}'
    assert ui.ask(terminate)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    assert refused(seen) == []
    assert violations(browser) == []


def test_a_sensor_is_switched_on_and_off_by_clicking(browser, ui: Background):
    begin(browser)
    browser.get(f"{ui.address}/locations/phi_assets/sensors/now_and_then")
    for status in ("RUNNING", "STOPPED"):
        wait_for(
            browser,
            lambda opened, on=status == "RUNNING": (
                opened.execute_script(SWITCH) is not on and opened.execute_script(BUSY) is False
            ),
        )
        click(browser, "//label[.//input[@type='checkbox']]")
        wait(f"the sensor being {status}", lambda status=status: sensor(ui) == status)
        wait_for(browser, lambda opened, on=status == "RUNNING": opened.execute_script(SWITCH) is on)
    assert refused(until_quiet(browser)) == []


def test_graphiql_executes_what_is_typed(browser, ui: Background):
    begin(browser)
    browser.get(f"{ui.address}/graphql")
    wait_for(browser, lambda opened: opened.execute_script(TYPE, "{ version }"))
    click(browser, "//button[contains(@class, 'graphiql-execute-button')]")

    wait_for(browser, lambda opened: f'"version": "{version("dagster-webserver")}"' in text_of(opened))
    assert refused(until_quiet(browser)) == []


@pytest.mark.parametrize(
    "names",
    [
        ("127.0.0.1", "127.0.0.1"),
        pytest.param(("localhost", "127.0.0.1"), marks=pytest.mark.long),
        pytest.param(("127.0.0.1", "localhost"), marks=pytest.mark.long),
    ],
    ids="-to-".join,
)
def test_a_page_of_another_origin_changes_and_reads_nothing(browser, ui: Background, foreign: int, names):
    report_prize(ui)
    before = of_interest(ui)
    page, target = f"http://{names[0]}:{foreign}", f"http://{names[1]}:{ui.port}"
    ended = {attack: attacked(browser, attack, page, target) for attack in ATTACKS}

    assert of_interest(ui) == before
    assert ended["websocket"] == ended["image"] == ended["script"] == "failed"
    assert "GraphiQL" in ended["link"]  # a page that executes nothing until its reader says so
    assert [how for how in ended.values() if "__typename" in how or '"data"' in how] == []


def test_the_ui_is_shown_in_no_frame_of_another_page(browser, ui: Background, foreign: int):
    from selenium.webdriver.common.by import By

    begin(browser)
    attacked(browser, "frame", f"http://localhost:{foreign}", ui.address)
    browser.switch_to.frame(browser.find_element(By.TAG_NAME, "iframe"))
    assert "Overview" not in text_of(browser)
    browser.switch_to.default_content()
    assert f"403 {ui.address}/runs" in refused(until_quiet(browser))


def test_the_same_mutation_of_a_program_of_this_machine_is_executed(ui: Background):
    report_prize(ui)
    before = of_interest(ui)
    answer = ui.ask(MUTATION)
    assert answer["launchRun"]["__typename"] == "LaunchRunSuccess"
    assert of_interest(ui) == (0, before[1] + 1)


@pytest.mark.long
def test_without_the_guard_the_attacks_would_succeed(browser, ui: Background, foreign: int):
    port = free_port()
    process = start_dagster(["dagster-webserver", "-w", str(ui.workspace), "-h", "127.0.0.1", "-p", str(port)], ui.home)
    try:
        its = Background(ui.project, ui.home, port)
        wait("the other webserver", its.answers)
        for attack in ("image", "no-cors get", "form in the address", "websocket"):
            report_prize(ui)
            before = of_interest(ui)
            how = attacked(browser, attack, f"http://localhost:{foreign}", its.address)
            if attack == "websocket":
                assert how == "opened"
            else:
                wait(f"the effect of {attack}", lambda before=before: of_interest(ui) == (0, before[1] + 1), 20)
    finally:
        end(process)


def attacked(browser: Any, attack: str, page: str, target: str) -> str:
    """Open the page, which attacks the target; return how that ended, or the page that it led to."""
    browser.get(f"{page}/?{urlencode({'attack': attack, 'target': target, 'query': MUTATION})}")
    if attack in LEAVES:
        wait_for(browser, lambda opened: opened.current_url.startswith(target))
        return text_of(browser)
    wait_for(browser, lambda opened: opened.title.startswith("ended: "))
    return browser.title.removeprefix("ended: ")


def report_prize(ui: Background) -> None:
    with ui.instance() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(PRIZE))


def of_interest(ui: Background) -> tuple[int, int]:
    """Return how many materialisations of the prize there are, and how many runs of the job."""
    with ui.instance() as instance:
        made = instance.fetch_materializations(PRIZE, limit=100).records
        return len(made), instance.get_runs_count(dg.RunsFilter(job_name="count_words"))


def sensor(ui: Background) -> str:
    selector = 'repositoryLocationName: "phi_assets", repositoryName: "__repository__", sensorName: "now_and_then"'
    query = f"{{ sensorOrError(sensorSelector: {{{selector}}}) {{ ... on Sensor {{ sensorState {{ status }} }} }} }}"
    return ui.ask(query)["sensorOrError"]["sensorState"]["status"]


def click(browser: Any, xpath: str) -> None:
    from selenium.webdriver.common.by import By

    (button, *_) = wait_for(browser, lambda opened: opened.find_elements(By.XPATH, xpath))
    browser.execute_script("arguments[0].click()", button)


LEFT = "closed before the connection is established"
"""Of a WebSocket that Dagster's page closes itself, when it draws again before the answer: on a busy machine."""


def begin(browser: Any) -> None:
    """Forget what the browser has logged so far."""
    browser.get("about:blank")
    for log in ("performance", "browser"):
        browser.get_log(log)


def messages(browser: Any) -> list[dict[str, Any]]:
    """Return what the browser has logged of its network since the last call."""
    return [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]


def until_quiet(browser: Any) -> list[dict[str, Any]]:
    """Return what the browser logs of its network until every query of the page has been answered."""
    seen: list[dict[str, Any]] = []

    def answered() -> bool:
        seen.extend(messages(browser))
        ended = ("Network.loadingFinished", "Network.loadingFailed")
        done = {its["params"]["requestId"] for its in seen if its["method"] in ended}
        asked = [its["params"] for its in seen if its["method"] == "Network.requestWillBeSent"]
        return all(its["requestId"] in done for its in asked if its["type"] in ("Fetch", "XHR", "Document"))

    wait("the answers to the page's queries", answered, 30)
    return seen


def refused(seen: list[dict[str, Any]]) -> list[str]:
    """Return each request that was answered with a status from 400 on, or that the browser blocked."""
    found = []
    for its in seen:
        what = its["params"]
        if its["method"] == "Network.responseReceived" and what["response"]["status"] >= 400:
            found.append(f"{what['response']['status']} {url_of(its)}")
        elif its["method"] == "Network.loadingFailed" and what.get("blockedReason"):
            found.append(f"{what['blockedReason']} {what['type']}")
        elif its["method"] == "Network.webSocketFrameError" and LEFT not in what["errorMessage"]:
            found.append(f"WebSocket {what['errorMessage']}")
    return found


def url_of(message: dict[str, Any]) -> str:
    return message["params"].get("response", {}).get("url", "")


def lines_of_websockets(seen: list[dict[str, Any]]) -> str:
    """Return all that WebSockets have received."""
    frames = [its["params"]["response"] for its in seen if its["method"] == "Network.webSocketFrameReceived"]
    return "\n".join(frame["payloadData"] for frame in frames)


def violations(browser: Any) -> list[str]:
    """Return the errors of the console: what a content security policy forbade is one."""
    return [
        entry["message"]
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and LEFT not in entry["message"]
    ]
