"""Enhanced CT and Legacy Converted Enhanced CT instances, made in memory, in which dciodvfy finds no error.

enhanced_ct(stored, rescales=..., Keyword=value) -> Dataset --enhanced_file--> bytes
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
)

DIMENSION_UID = "1.2.3.7"


def item(**attributes: Any) -> Dataset:
    """A data set of these attributes."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(value: str, scheme: str, meaning: str) -> list[Dataset]:
    """A code sequence of one item."""
    return [item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)]


def stack_of(frames: int = 3, shape: tuple[int, int] = (12, 16), seed: int = 7) -> NDArray[np.uint16]:
    """12-bit stored values in 16, no two frames alike."""
    stack = np.random.default_rng(seed).integers(200, 3000, (frames, *shape)).astype(np.uint16)
    stack[:, 0, 0] = 1000 + np.arange(frames)
    return stack


def enhanced_ct(
    stored: NDArray[Any] | None = None,
    *,
    legacy: bool = False,
    bits: int | None = None,
    rescales: Sequence[tuple[float, float]] | None = None,
    frame_types: Sequence[Sequence[str]] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    drop: tuple[str, ...] = (),
    **attributes: Any,
) -> Dataset:
    """A complete multi-frame CT data set with file meta.

    Args:
        stored: (N, H, W) of an 8- or 16-bit integer dtype.
        legacy: Legacy Converted Enhanced CT instead of Enhanced CT.
        bits: BitsStored; default 12 for the default stack, else all.
        rescales: slope and intercept of each frame; default one shared, 1 and -1024.
        frame_types: FrameType of each frame; default one shared, ORIGINAL.
        syntax: of native pixel data.
        drop: keywords at the top level to leave out.
        attributes: replace or add at the top level.
    """
    bits = 12 if stored is None else stored.dtype.itemsize * 8 if bits is None else bits
    stored = stack_of() if stored is None else stored
    kind = LegacyConvertedEnhancedCTImageStorage if legacy else EnhancedCTImageStorage
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    top = {
        **_patient_and_study(),
        **_equipment(),
        **_image(),
        "SOPClassUID": kind,
        "NumberOfFrames": stored.shape[0],
        "Rows": stored.shape[1],
        "Columns": stored.shape[2],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": stored.dtype.itemsize * 8,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        **attributes,
    }
    dataset = item(**{keyword: value for keyword, value in top.items() if keyword not in drop})
    shared = _legacy_groups() if legacy else _acquisition_groups()
    own = [_frame(number) for number in range(1, stored.shape[0] + 1)]
    _put(shared, own, "PixelValueTransformationSequence", rescales or [(1, -1024)], _transformation)
    _put(shared, own, "CTImageFrameTypeSequence", frame_types or [["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]], _type)
    if legacy:
        for number, groups in enumerate(own, start=1):
            groups.UnassignedPerFrameConvertedAttributesSequence = [item(SliceLocation=str(number))]
            source = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=f"1.2.9.{number}")
            groups.ConversionSourceAttributesSequence = [source]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = own
    dataset.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = kind
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3.4.5")
    return dataset


def compressed(
    dataset: Dataset, streams: Sequence[bytes], syntax: str, *, fragments: int = 1, table: bool = True
) -> Dataset:
    """The data set with compressed frames instead of native ones."""
    dataset.PixelData = encapsulate(list(streams), fragments_per_frame=fragments, has_bot=table)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def enhanced_file(dataset: Dataset) -> bytes:
    """The data set as a DICOM file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _put(shared: Dataset, own: list[Dataset], keyword: str, given: Sequence[Any], make: Any) -> None:
    """A functional group: shared if there is one of it, else one for each frame."""
    for place, one in zip([shared] if len(given) == 1 else own, given, strict=True):
        setattr(place, keyword, [make(one)])


def _transformation(rescale: tuple[float, float]) -> Dataset:
    return item(RescaleSlope=str(rescale[0]), RescaleIntercept=str(rescale[1]), RescaleType="HU")


def _type(frame_type: Sequence[str]) -> Dataset:
    return item(
        FrameType=list(frame_type),
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )


def _frame(number: int) -> Dataset:
    content = item(
        FrameAcquisitionNumber=1,
        FrameReferenceDateTime="20250102101114",
        FrameAcquisitionDateTime="20250102101114",
        FrameAcquisitionDuration=500.0,
        StackID="1",
        InStackPositionNumber=number,
        DimensionIndexValues=[1, number],
    )
    place = item(ImagePositionPatient=["-100", "-100", str(5 * number)])
    return item(FrameContentSequence=[content], PlanePositionSequence=[place])


def _patient_and_study() -> dict[str, Any]:
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPInstanceUID": "1.2.3.4.5",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "StudyDate": "20250102",
        "StudyTime": "101112",
        "SeriesDate": "20250102",
        "SeriesTime": "101113",
        "ContentDate": "20250102",
        "ContentTime": "101115",
        "StudyID": "1",
        "SeriesNumber": "2",
        "InstanceNumber": "7",
        "AccessionNumber": "A1",
        "Modality": "CT",
        "SeriesDescription": "Thorax 5.0",
        "PatientName": "M\xfcller^Hans",
        "PatientID": "P1",
        "PatientBirthDate": "19500101",
        "PatientSex": "M",
        "ReferringPhysicianName": "Doe^Jane",
        "BodyPartExamined": "CHEST",
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": "1.2.3.9",
        "PositionReferenceIndicator": "",
    }


def _equipment() -> dict[str, Any]:
    return {
        "Manufacturer": "SCANNERS INC",
        "ManufacturerModelName": "Spiral 9",
        "DeviceSerialNumber": "SN1",
        "SoftwareVersions": "v1",
        "InstitutionName": "Hospital",
    }


def _image() -> dict[str, Any]:
    indices = [
        item(DimensionOrganizationUID=DIMENSION_UID, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)
        for pointer in (0x00209056, 0x00209057)  # StackID, InStackPositionNumber
    ]
    return {
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "PixelPresentation": "MONOCHROME",
        "VolumetricProperties": "VOLUME",
        "VolumeBasedCalculationTechnique": "NONE",
        "AcquisitionNumber": 1,
        "AcquisitionDateTime": "20250102101114",
        "AcquisitionDuration": 2.5,
        "ContentQualification": "PRODUCT",
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY",
        "DimensionOrganizationSequence": [item(DimensionOrganizationUID=DIMENSION_UID)],
        "DimensionIndexSequence": indices,
        "AcquisitionContextSequence": [],
    }


def _legacy_groups() -> Dataset:
    return item(
        PixelMeasuresSequence=[item(PixelSpacing=["0.7", "0.7"], SliceThickness="5")],
        PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        UnassignedSharedConvertedAttributesSequence=[item(KVP="120", SmallestImagePixelValue=3)],
    )


def _acquisition_groups() -> Dataset:
    region = item(AnatomicRegionSequence=code("51185008", "SCT", "Chest"), FrameLaterality="U")
    details = item(
        RotationDirection="CW",
        RevolutionTime=0.5,
        SingleCollimationWidth=0.6,
        TotalCollimationWidth=38.4,
        TableHeight=150.0,
        GantryDetectorTilt=0.0,
        DataCollectionDiameter=500.0,
    )
    reconstruction = item(
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ConvolutionKernel="B31f",
        ConvolutionKernelGroup="SOFT_TISSUE",
        ReconstructionDiameter=358.0,
        ReconstructionPixelSpacing=[0.7, 0.7],
        ReconstructionAngle=360.0,
        ImageFilter="NONE",
    )
    exposure = item(
        ExposureTimeInms=500.0,
        XRayTubeCurrentInmA=200.0,
        ExposureInmAs=100.0,
        ExposureModulationType="NONE",
        CTDIvol=7.5,
        CTDIPhantomTypeCodeSequence=code("113691", "DCM", "IEC Body Dosimetry Phantom"),
    )
    tube = item(KVP=120.0, FocalSpots=[1.2], FilterType="FLAT", FilterMaterial="ALUMINUM")
    geometry = item(DistanceSourceToDetector=1085.6, DistanceSourceToDataCollectionCenter=595.0)
    centers = {"DataCollectionCenterPatient": [0.0, 0.0, 5.0], "ReconstructionTargetCenterPatient": [0.0, 0.0, 5.0]}
    return item(
        PixelMeasuresSequence=[item(PixelSpacing=["0.7", "0.7"], SliceThickness="5")],
        PlaneOrientationSequence=[item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        FrameAnatomySequence=[region],
        FrameVOILUTSequence=[item(WindowCenter="40", WindowWidth="400")],
        IrradiationEventIdentificationSequence=[item(IrradiationEventUID="1.2.3.8")],
        CTAcquisitionTypeSequence=[
            item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO"),
        ],
        CTAcquisitionDetailsSequence=[details],
        CTTableDynamicsSequence=[item(TableSpeed=46.0, TableFeedPerRotation=23.0, SpiralPitchFactor=0.6)],
        CTPositionSequence=[item(TablePosition=1.0, **centers)],
        CTGeometrySequence=[geometry],
        CTReconstructionSequence=[reconstruction],
        CTExposureSequence=[exposure],
        CTXRayDetailsSequence=[tube],
    )
