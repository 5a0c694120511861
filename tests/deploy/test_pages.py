"""What deploy/README.md and docs/installation.md say leads somewhere."""

import re

from tests.deploy.tools import DEPLOY, DOCS, ROOT, headings_of

PAGES = (DEPLOY / "README.md", DOCS / "installation.md", DEPLOY / "helm" / "ichd" / "README.md")


def test_links_lead_to_files_and_headings_that_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", page.read_text()):
            path, _, heading = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            assert not heading or heading in headings_of(file), f"{page.name}: {target}"


def test_files_that_commands_name_are_there() -> None:
    for page in PAGES:
        for name in re.findall(r"\bdeploy/[\w./@-]+\w", page.read_text()):
            assert (ROOT / name).exists() or name.endswith("ichd"), f"{page.name}: {name}"


def test_units_that_commands_name_are_there() -> None:
    units = {unit.name.partition(".")[0] for unit in (DEPLOY / "systemd").iterdir()}
    for page in PAGES:
        for name in re.findall(r"\bichd-(?:listen|worker|web|backup|run|migrate)\b@?", page.read_text()):
            assert name in units or f"{name}@" in units, f"{page.name}: {name}"
