"""derive: a source instance and its restored pixels -> the derived instance. Pure; time is an argument.

    source --kept--> elements --+
    restored HU --encoding--> pixels and their attributes --+--> equipment, provenance, identity --> Derived
                                                                                                       |
                                         bytes <--write_instance-- Derived <--rules.check (RuleViolated)

Every row of the table "The derived CT image" in docs stands once, here or in `derived_instance`, which holds what
multi-frame instances (`enhanced`) have too.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sequence import Sequence

from imaging.dicom_attributes import text, values
from imaging.image import Image
from service.dicom.derived_instance import (
    SHORT_TEXT,
    SMOOTHING,
    SOURCE_IMAGE,
    Derived,
    check_moments,
    derivation_text,
    describe_encoding,
    describe_series,
    identify,
    name_maker,
    new_instance,
    pixel_notes,
    set_times,
)
from service.dicom.display import keep_valid_display
from service.dicom.encoding import encode_pixels
from service.dicom.equipment import code_item
from service.dicom.identity import Derivation
from service.dicom.kept import kept_elements
from service.dicom.lossy import mark_lossy
from service.dicom.written import put
from service.settings import SiteConventions

_VALUE_1, _VALUE_2, _VALUE_3 = ("ORIGINAL", "DERIVED"), ("PRIMARY", "SECONDARY"), ("AXIAL",)


def derive(
    image: Image,
    restored: NDArray[np.float32],
    derivation: Derivation,
    conventions: SiteConventions,
    *,
    now: datetime,
    series_begun: datetime | None = None,
    as_hounsfield: bool = False,
) -> Derived:
    """The derived instance of a single-frame CT image.

    Args:
        image: with its source data set, which is not changed, and which `eligibility.check_source` let pass.
        restored: (H, W) float32 in HU, finite.
        derivation: what was done.
        conventions: of the site.
        now: when, aware; for ContentDate and InstanceCreationDate.
        series_begun: SeriesDate and SeriesTime of all instances of the derived series; None leaves them out, since a
            single call knows of no other instances.
        as_hounsfield: as `encode_pixels`.

    Raises:
        ValueError: `image` has no data set, `restored` does not fit it, or a moment is naive.
    """
    source = image.dataset
    if source is None:
        raise ValueError("the image has no DICOM data set")
    check_moments(now, series_begun)
    pixels = encode_pixels(image, restored, as_hounsfield=as_hounsfield)
    derived = new_instance(kept_elements(source))
    notes = [*_describe_image(derived, source, conventions), *keep_valid_display(derived)]
    describe_series(derived, source, conventions)
    describe_encoding(derived, pixels)
    if pixels.reencoded:
        put(derived, RescaleSlope="1", RescaleIntercept="0", RescaleType="HU")
    mark_lossy(derived, source)
    name_maker(derived, source, derivation, conventions, now)
    _name_source(derived, source, derivation)
    set_times(derived, now, series_begun)
    identify(derived, source, derivation, reencoded=pixels.reencoded)
    return Derived(derived, pixels, (*notes, *pixel_notes(pixels)))


def _describe_image(derived: Dataset, source: Dataset, conventions: SiteConventions) -> list[str]:
    found = [str(value).strip().upper() for value in values(source, "ImageType")]
    second, third = [*found, "", "", ""][1:3]
    notes = []
    if (found[:1] or [""])[0] not in _VALUE_1 or second not in _VALUE_2 or third not in _VALUE_3:
        notes.append("ImageType had missing or invalid values, which were replaced")
    second = "SECONDARY" if conventions.image_type_secondary else second if second in _VALUE_2 else "PRIMARY"
    put(derived, ImageType=["DERIVED", second, third if third in _VALUE_3 else "AXIAL"])
    return notes


def _name_source(derived: Dataset, source: Dataset, derivation: Derivation) -> None:
    description = derivation_text(derivation)
    before = " ".join(str(value) for value in values(source, "DerivationDescription")).strip()
    described = f"{description}. Before: {before}" if before else description
    put(derived, DerivationDescription=described[:SHORT_TEXT])
    codes = list(derived.get("DerivationCodeSequence") or ())
    if not any(text(code, "CodeValue") == SMOOTHING[0] for code in codes):
        codes.append(code_item(*SMOOTHING))
    item = Dataset()
    put(item, ReferencedSOPClassUID=source.SOPClassUID, ReferencedSOPInstanceUID=source.SOPInstanceUID)
    put(item, SpatialLocationsPreserved="YES", PurposeOfReferenceCodeSequence=Sequence([code_item(*SOURCE_IMAGE)]))
    put(derived, DerivationCodeSequence=Sequence(codes), SourceImageSequence=Sequence([item]))
