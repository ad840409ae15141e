"""No module but a source's own knows it by name: adding one edits nothing else."""

from __future__ import annotations

import re

from connectors.registry import names
from tests.architecture.tree import FILES, name_of


def test_no_other_module_decides_anything_by_the_name_of_a_source():
    """Names in texts and comments are examples; a name that the code compares with, or imports, is not."""
    named = re.compile(rf"""(?:==|!=|\bin\b|import|from connectors\.)\s*\(?\W*({"|".join(names())})\b""")
    others = [file for file in FILES if not any(f"connectors/{source}/" in name_of(file) for source in names())]
    found = {name_of(file) for file in others if any(map(named.search, file.read_text().splitlines()))}
    assert found == {"connectors/signatures.py"}, "where `leadlex` is a way to sign, open to every source"
