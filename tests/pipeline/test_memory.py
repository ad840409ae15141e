"""A process that reads page after page gives their bodies back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

LARGE, BODY = 16_000_000, 1_000_000

READER = f"""
import ctypes, sys
if sys.argv[1:] == ["ready"]:
    from pipeline.memory import ready_for_pages
    ready_for_pages()

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo
bytes({LARGE})  # freed at once: from here on, glibc left to itself puts smaller bodies on the heap
before = mallinfo().hblkhd
body = bytes({BODY})
print(mallinfo().hblkhd - before)
"""


def _taken_from_the_system(*arguments: str) -> int:
    ended = subprocess.run([sys.executable, "-c", READER, *arguments], capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or later")
def test_a_bodys_memory_is_the_systems_own_whatever_was_freed_before() -> None:
    assert _taken_from_the_system() == 0, "glibc has changed: what is tested here is no longer needed"
    assert _taken_from_the_system("ready") >= BODY
