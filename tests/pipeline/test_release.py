"""The version, the licence and the citation agree in all files that state them."""

import hashlib
import re
import tomllib

from stages.common.params import YAML
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = YAML(typ="safe", pure=True).load(ROOT / "CITATION.cff")
LICENSE = (ROOT / "LICENSE").read_text()
COPYRIGHT = "Copyright 2026 The movie-recommender authors"


def test_the_citation_has_what_the_format_requires() -> None:
    # https://github.com/citation-file-format/citation-file-format: required keys of version 1.2.0
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION)
    assert all(isinstance(CITATION[key], str) for key in ("message", "title", "version"))
    assert CITATION["type"] == "software"
    assert CITATION["authors"] == PROJECT["authors"]


def test_the_version_is_the_newest_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    releases = [section for section in sections if not section.startswith("Unreleased")]
    versions = [section.split("\n", 1)[0] for section in releases]
    assert versions[0] == PROJECT["version"] == CITATION["version"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    assert len(set(versions)) == len(versions)
    assert all("- " in section for section in releases)


def test_no_other_file_states_the_version() -> None:
    version = re.escape(PROJECT["version"])
    for path in (ROOT / "stages").rglob("*.py"):
        assert not re.search(rf"[\"']{version}[\"']", path.read_text()), path


def test_the_licence_is_the_whole_apache_licence() -> None:
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"
    assert LICENSE.count(COPYRIGHT) == 1
    # The SHA-256 of https://www.apache.org/licenses/LICENSE-2.0.txt, with the blank of its appendix
    original = LICENSE.replace(COPYRIGHT, "Copyright [yyyy] [name of copyright owner]")
    digest = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    assert hashlib.sha256(original.encode()).hexdigest() == digest
    assert PROJECT["authors"][0]["name"] in COPYRIGHT
