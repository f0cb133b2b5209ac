"""An officer looks up who was shown a document, and takes the report along."""

from __future__ import annotations

import re
import zipfile

import pytest
from browser_people import Visit, ask
from playwright.sync_api import expect
from test_reveal_story import check_wide_and_narrow

pytestmark = pytest.mark.browser


def test_who_saw_it_and_a_file_of_it(visit: Visit) -> None:
    ask(visit("alice").page)
    watched = visit("cora")
    page = watched.page
    page.goto("/audit")
    page.get_by_role("navigation", name="Audit").get_by_role("link", name="Disclosures").click()
    expect(page.get_by_role("heading", name="Choose a document, a collection, a person or a reference")).to_be_visible()
    check_wide_and_narrow(page)
    page.get_by_label("About a").select_option(label="Collection")
    page.get_by_label("Name, number or reference").fill("Contracts")
    page.get_by_role("button", name="Show who saw it").press("Enter")
    expect(page.locator("#readers tbody tr").first).to_be_visible()
    expect(page.locator("#dis-title")).to_have_text(
        re.compile(r"^(1 person was|\d+ people were) shown passages or pages$")
    )
    check_wide_and_narrow(page)
    for label, inside in (("PDF", "report.pdf"), ("Table (CSV)", "report.csv")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label).click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert {inside, "evidence.json", "checkpoint.txt", "README.txt"} == set(archive.namelist())

    page.get_by_role("navigation", name="Audit").get_by_role("link", name="Reports").click()
    check_wide_and_narrow(page)
    subject = page.locator("#subject")
    subject.get_by_label("Name, number or reference").fill("bob")
    with page.expect_download() as download:
        subject.get_by_role("button", name="FHIR R4 bundle").click()
    assert download.value.suggested_filename.startswith("subject-")
    watched.assert_quiet()
    subject.get_by_label("Name, number or reference").fill("Nobody at all")
    subject.get_by_role("button", name="PDF").click()
    expect(page.get_by_role("alert")).to_contain_text("report_refused")
    expect(page.locator("#subject").get_by_label("Name, number or reference")).to_have_value("Nobody at all")
    check_wide_and_narrow(page)
