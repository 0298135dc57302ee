"""THIRD_PARTY.md: what the service stands on, with licences, from the lock and the installed packages' own metadata.

requirements/cpu.txt --names, versions--> installed metadata --licence--> table --write--> THIRD_PARTY.md
                                          UnknownLicence: name it in NOT_STATED
`make docs` writes it; tests/test_third_party.py says when it is out of date.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements" / "cpu.txt"
PAGE = ROOT / "THIRD_PARTY.md"

MAX_LICENCE_LENGTH = 60
"""Longer fields hold the text of a licence, not its name."""

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 3-Clause": "BSD-3-Clause",
    "ISC License": "ISC",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
"""What packages without an SPDX expression call their licence -> its SPDX identifier."""

NOT_STATED = {
    "astunparse": "BSD-3-Clause AND PSF-2.0",
    "namex": "Apache-2.0",
    "scikit-image": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
}
"""Packages whose metadata name no licence exactly; read from the licence files that they ship (astunparse: from its
source distribution)."""

HEAD = """# What clearslice stands on

clearslice is under the [Apache-2.0 licence](LICENSE). The service needs the packages below, exactly those of
`requirements/cpu.txt`. None of them states the GPL or AGPL as its licence; the one library inside them whose source
names the GPL is [socket++](#libraries-inside-these-packages). `make docs` writes this page; a test compares it.

| package | version | licence |
|---|---|---|
"""

TAIL = """
The `gpu` lock has `tensorflow` in place of `tensorflow-cpu`, and NVIDIA's CUDA libraries under NVIDIA's own licence
terms. The container adds Python (PSF-2.0) and Debian's base system, whose licences lie in `/usr/share/doc`.

## Libraries inside these packages

Wheels bring compiled libraries along, which no list of packages shows:

| in | libraries | licences |
|---|---|---|
| python-gdcm | GDCM, its patched IJG libjpeg (8, 12, 16 bits), OpenJPEG, CharLS, zlib, expat, uuid; socket++; OpenSSL \
1.1.1k | BSD-3-Clause, IJG, BSD-2-Clause, Zlib, MIT; for socket++ see below; OpenSSL |
| pylibjpeg-openjpeg | OpenJPEG | BSD-2-Clause |
| pyjpegls | CharLS | BSD-3-Clause |
| pillow | libjpeg-turbo, libtiff, libpng, OpenJPEG, libwebp, libavif, FreeType, HarfBuzz, Little CMS, Brotli, zstd, \
liblzma, libxcb | permissive (IJG, BSD, MIT, libtiff, libpng, FTL, 0BSD) |
| numpy, scipy | OpenBLAS, LAPACK; GCC's libgfortran and libquadmath | BSD-3-Clause; GPL-3.0-or-later WITH \
GCC-exception-3.1, which leaves programs that use it their own licence; LGPL-2.1-or-later |
| h5py | HDF5, libaec | BSD-3-Clause, BSD-2-Clause |
| psycopg-binary | libpq, OpenSSL, MIT Kerberos, OpenLDAP, Cyrus SASL, libcrypt, keyutils | PostgreSQL, Apache-2.0, \
MIT, OLDAP-2.8, BSD-4-Clause-UC, LGPL-2.1-or-later |
| cryptography | OpenSSL | Apache-2.0 |
| uvloop | libuv | MIT |
| tensorflow-cpu | see `tensorflow/THIRD_PARTY_NOTICES.txt` in the installed package | permissive, and MPL-2.0 (Eigen) |

Two of these in python-gdcm deserve a look. Both are loaded with GDCM, and nothing here calls them, since GDCM decodes
pixel data here and does nothing else:

- **socket++** (`libsocketxx`, for GDCM's own network code). The headers of its source carry two notices: a permissive
  one by its author (1992-1996), and the GPL-2.0-or-later by the author of later changes (2002). Debian distributes it
  as permissive. Who may not distribute GPL code should ask a lawyer, or build GDCM without its network code.
- **OpenSSL 1.1.1k** (2021), which no longer gets fixes and which no audit of Python packages sees.

DBOS brings **psycopg** (LGPL-3.0) for PostgreSQL. It is an unchanged library, and loaded only where
`CLEARSLICE_JOBS_DATABASE` names a PostgreSQL database.

## Data

The shipped models were trained on public CT series. Their credits and licences stand in each model card, as in
[ct-l2@3](model_store/published/ct-l2/3/README.md).
"""


class UnknownLicence(Exception):
    """A package's metadata do not say its licence in words that are known here."""


def locked(text: str) -> dict[str, str]:
    """Name -> version of the packages that a lock installs on this platform and Python."""
    requirements = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    return {
        found.name: str(found.specifier).removeprefix("==")
        for found in requirements
        if found.marker is None or found.marker.evaluate()
    }


def licence(name: str, metadata: Mapping[str, str], classifiers: list[str]) -> str:
    """The licence as an SPDX expression.

    Args:
        name: of the package.
        metadata: its core metadata.
        classifiers: those of its classifiers that begin with "License".

    Raises:
        UnknownLicence: it is neither stated as an expression nor known to `SPDX` or `NOT_STATED`.
    """
    if name in NOT_STATED:
        return NOT_STATED[name]
    if metadata.get("License-Expression"):
        return metadata["License-Expression"]
    field = (metadata.get("License") or "").strip()
    for stated in (field, *classifiers):
        if stated in SPDX:
            return SPDX[stated]
        if stated in {*SPDX.values(), "MPL-2.0"}:
            return stated
    raise UnknownLicence(
        f"{name} states its licence as {field[:MAX_LICENCE_LENGTH]!r}, {classifiers}; read its licence file and add it"
        " to SPDX or NOT_STATED in docs/third_party.py"
    )


def rows() -> list[tuple[str, str, str]]:
    """Name, version and licence of each package of the lock, in its order.

    Raises:
        UnknownLicence: as `licence` says.
        PackageNotFoundError: one is not installed; run `make test` once.
    """
    found = []
    for name, version in locked(LOCK.read_text(encoding="utf-8")).items():
        metadata = importlib.metadata.metadata(name)
        classifiers = [line for line in metadata.get_all("Classifier", []) if line.startswith("License")]
        found.append((name, version, licence(name, dict(metadata.items()), classifiers)))
    return found


def page() -> str:
    """The text of THIRD_PARTY.md."""
    return HEAD + "".join(f"| {name} | {version} | {terms} |\n" for name, version, terms in rows()) + TAIL


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
