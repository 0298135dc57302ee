"""Multi-frame files as dcmtk compresses them, whole or in fragments, with or without offset table: bit for bit."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from imaging.formats import decode
from imaging.limits import Limits

LIMITS = Limits(max_bytes=1 << 24, max_pixels=1 << 18, max_frames=8)
FRAGMENTS = ("+fs", "1")  # KiB, so that each frame has several
NO_TABLE = ("-ot",)

CASES = [
    ("dcmcrle", ()),
    ("dcmcjpls", ("+el",)),
    ("dcmcjpls", ("+el", *FRAGMENTS)),
    ("dcmcjpls", ("+el", *FRAGMENTS, *NO_TABLE)),
    ("dcmcjpeg", ("+e1",)),
    ("dcmcjpeg", ("+el", *FRAGMENTS)),
    ("dcmcjpeg", ("+e1", *FRAGMENTS, *NO_TABLE)),
    ("dcmconv", ("+ti",)),
    ("dcmconv", ("+tb",)),
    ("dcmconv", ("+td",)),
]


@pytest.mark.peer
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("program", "options"), CASES)
def test_frames_of_dcmtk(enhanced, tmp_path, program, options, signed):
    if shutil.which(program) is None:
        pytest.skip(f"{program} (Debian package dcmtk) is not installed")
    stack = enhanced.stack_of(4, (61, 67))
    stack = stack.astype(np.int16) - 1500 if signed else stack
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    source.write_bytes(enhanced.enhanced_file(enhanced.enhanced_ct(stack, bits=16 if signed else 12)))
    subprocess.run([program, *options, source, target], check=True, capture_output=True)
    frames = decode(target.read_bytes(), limits=LIMITS)
    np.testing.assert_array_equal(np.stack([image.stored for image in frames]), stack)
