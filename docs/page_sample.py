"""Writes the sample of the page at `/`: what `clearslice sample` writes, compressed without loss: `make pictures`."""

from __future__ import annotations

from imaging.sample import SampleSettings, make_sample
from service.api.page import FOLDER
from service.dicom.compression import compressed


def main() -> None:
    """Writes service/web/sample-low-dose.dcm and sample-full-dose.dcm: one slice of a phantom, JPEG-LS."""
    sample = make_sample(SampleSettings())
    for name, files in (("low-dose", sample.low_dose_files), ("full-dose", sample.full_dose_files)):
        (FOLDER / f"sample-{name}.dcm").write_bytes(compressed(files[0], "jpeg-ls"))


if __name__ == "__main__":
    main()
