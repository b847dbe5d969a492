"""`rushhour ui` on containers: one run after another from the browser, and nothing is left."""

from pathlib import Path

import pytest
from docker import DockerClient
from playwright.sync_api import expect

from tests.docker.compose_subject import everything
from tests.webui_pages import chromium, needs_chromium, serving, start, stop


@needs_chromium
@pytest.mark.browser
def test_runs_start_and_stop_on_containers(client: DockerClient, tmp_path: Path) -> None:
    before = everything(client)
    with serving(tmp_path, "--stack=compose") as (url, _), chromium() as browser:
        page = browser.new_page()
        page.goto(url)
        start(page, "1.1")
        page.get_by_role("tab", name="Pool", exact=True).click()
        expect(page.locator("tr", has_text="replica")).to_contain_text("100 %")
        stop(page)
        expect(page.locator("#rushhour-verdict")).to_contain_text("tiny (release 1.1)")
        page.get_by_role("button", name="New").click()
        start(page, "1.1.1")
        stop(page)
    runs = [path for path in (tmp_path / "runs").iterdir() if path.name.endswith("tiny")]
    assert len(runs) == 2
    assert all((run / "verdict.json").exists() for run in runs)
    assert everything(client) == before
