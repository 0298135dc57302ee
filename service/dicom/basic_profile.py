"""What PS3.15 table E.1-1, column "Basic Profile", does to a CT or Enhanced CT image: which attributes stay, and how.

    attribute --in EMPTIED?--> no value (Z)    --in DUMMIES?--> a dummy (D)    --in UIDS?--> another UID (U)
              --in KEPT?-----> as it is (K)    --anything else: removed (X)

The table removes (X) most of what it lists, and says nothing of attributes that it takes for harmless. Here the
harmless ones are listed, as far as a CT image needs them, and all others are removed, so that an attribute of a later
edition, of another IOD, or a private one never stays by accident. Edition 2025a; attributes as of the modules and
functional groups of CT Image, Enhanced CT Image and Legacy Converted Enhanced CT Image (PS3.3 A.3, A.38, A.70).

Decisions:

- Compound actions are resolved by the type in those IODs: removed where it is 3 everywhere, emptied where it is 2,
  a dummy where it is 1 in one of them.
- Items of SourceImageSequence and ReferencedImageSequence (X/Z/U*) stay, with other UIDs.
- Optional modules of which the table leaves only dummies go as a whole: clinical trial, specimen, treatment, animals.
- Free text stays where it says how the image was made and scanners write it by themselves: `KEPT_TEXTS`. Code strings
  (VR CS), numbers and codes with their meanings stay as well.
- Nothing is cleaned (C): that would have to understand text.
"""

from __future__ import annotations

from pydicom.datadict import tag_for_keyword


def _tags(keywords: str) -> frozenset[int]:
    tags = {keyword: tag_for_keyword(keyword) for keyword in keywords.split()}
    unknown = [keyword for keyword, tag in tags.items() if tag is None]
    if unknown:
        raise ValueError(f"the dictionary has no {unknown}")
    return frozenset(tag for tag in tags.values() if tag is not None)


EMPTIED = _tags("""
    StudyDate StudyTime AccessionNumber ReferringPhysicianName ConsultingPhysicianName PatientBirthDate PatientSex
    ContrastBolusAgent StudyID AcquisitionContextSequence
""")
"""Z. PatientName and PatientID, Z and Z/D, become a pseudonym (`deidentify`)."""

DUMMIES = _tags("""
    ContentDate ContentTime AcquisitionDateTime FrameAcquisitionDateTime FrameReferenceDateTime ContextGroupVersion
    ContextGroupLocalVersion DeviceSerialNumber
""")
"""D."""

DUMMY_VALUES = {"DA": "19000101", "TM": "000000", "DT": "19000101000000", "LO": "REMOVED"}
"""By VR. No scanner existed in 1900, so that nobody takes the date for one."""

UIDS = _tags("""
    InstanceCreatorUID AcquisitionUID SOPInstanceUID ReferencedSOPInstanceUID IrradiationEventUID DeviceUID
    ManufacturerDeviceClassUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID
    SynchronizationFrameOfReferenceUID ConcatenationUID DimensionOrganizationUID TreatmentSessionUID
""")
"""U."""

KEPT_TEXTS = _tags("""
    Manufacturer ManufacturerModelName ManufacturerModelVersion SoftwareVersions ConvolutionKernel FilterType
    ImageFilter PositionReferenceIndicator StackID CardiacFramingType RescaleType WindowCenterWidthExplanation
    LUTLabel LUTExplanation CodeValue LongCodeValue URNCodeValue CodingSchemeDesignator CodingSchemeVersion
    CodeMeaning
""")
"""All texts that stay, but for code strings."""

_CODE_STRINGS = _tags("""
    SpecificCharacterSet ImageType Modality BodyPartExamined ScanOptions PatientPosition PatientOrientation
    RotationDirection ExposureModulationType FilterMaterial SynchronizationTrigger AcquisitionTimeSynchronized
    ContrastBolusIngredient ContrastBolusAgentAdministered ContrastBolusAgentDetected ContrastBolusAgentPhase
    ContrastBolusIngredientOpaque ContentQualification Laterality ImageLaterality FrameLaterality FrameType
    PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique AcquisitionType ConstantVolumeFlag
    FluoroscopyFlag ReconstructionAlgorithm ConvolutionKernelGroup MultienergyCTAcquisition SyntheticData
    CardiacSynchronizationTechnique CardiacSignalSource CardiacBeatRejectionTechnique CardiacCyclePosition
    RespiratoryMotionCompensationTechnique RespiratorySignalSource RespiratoryTriggerType RespiratoryCyclePosition
    StartingRespiratoryPhase EndingRespiratoryPhase SliceProgressionDirection DimensionOrganizationType
    PhotometricInterpretation BurnedInAnnotation RecognizableVisualFeatures QualityControlImage
    LossyImageCompression LossyImageCompressionMethod VOILUTFunction PresentationLUTShape SpatialLocationsPreserved
    ContextIdentifier MappingResource
""")

_NUMBERS = _tags("""
    SeriesNumber AcquisitionNumber InstanceNumber ImagesInAcquisition NumberOfFrames KVP SliceThickness
    DataCollectionDiameter SpatialResolution ReconstructionDiameter DistanceSourceToDetector DistanceSourceToPatient
    GantryDetectorTilt TableHeight ExposureTime ExposureTimeInms XRayTubeCurrent XRayTubeCurrentInmA Exposure
    ExposureInuAs ExposureInmAs GeneratorPower FocalSpots RevolutionTime SingleCollimationWidth
    TotalCollimationWidth TableSpeed TableFeedPerRotation SpiralPitchFactor DataCollectionCenterPatient
    ReconstructionTargetCenterPatient ReconstructionFieldOfView ReconstructionPixelSpacing ReconstructionAngle
    DistanceSourceToDataCollectionCenter TablePosition TubeAngle IsocenterPosition CTDIvol WaterEquivalentDiameter
    CalciumScoringMassFactorPatient CalciumScoringMassFactorDevice EnergyWeightingFactor AcquisitionDuration
    FrameAcquisitionDuration FrameAcquisitionNumber TemporalPositionTimeOffset ContrastBolusVolume
    ContrastBolusTotalDose ContrastFlowRate ContrastFlowDuration ContrastBolusAgentNumber
    ContrastBolusIngredientConcentration ContrastBolusIngredientPercentByVolume SynchronizationChannel HeartRate
    IntervalsAcquired IntervalsRejected LowRRValue HighRRValue SkipBeats RRIntervalTimeNominal
    NominalCardiacTriggerDelayTime NominalCardiacTriggerTimePriorToRPeak NominalPercentageOfCardiacPhase
    ActualCardiacTriggerDelayTime ActualCardiacTriggerTimePriorToRPeak CardiacRRIntervalSpecified
    RespiratoryIntervalTime RespiratoryTriggerDelayThreshold NominalRespiratoryTriggerDelayTime
    ActualRespiratoryTriggerDelayTime NominalPercentageOfRespiratoryPhase StartingRespiratoryAmplitude
    EndingRespiratoryAmplitude ImagePositionPatient ImageOrientationPatient SliceLocation PixelSpacing
    PixelAspectRatio SpacingBetweenSlices InStackPositionNumber DimensionIndexValues TemporalPositionIndex
    DimensionIndexPointer FunctionalGroupPointer ReferencedFrameNumber RepresentativeFrameNumber SamplesPerPixel
    Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelPaddingValue PixelPaddingRangeLimit
    SmallestImagePixelValue LargestImagePixelValue WindowCenter WindowWidth RescaleSlope RescaleIntercept
    LossyImageCompressionRatio LUTDescriptor LUTData RealWorldValueFirstValueMapped RealWorldValueLastValueMapped
    DoubleFloatRealWorldValueFirstValueMapped DoubleFloatRealWorldValueLastValueMapped RealWorldValueIntercept
    RealWorldValueSlope RealWorldValueLUTData PixelData
""")

_CLASSES = _tags("SOPClassUID ReferencedSOPClassUID RelatedGeneralSOPClassUID")

_SEQUENCES = _tags("""
    PurposeOfReferenceCodeSequence EquivalentCodeSequence ContributingEquipmentSequence DerivationCodeSequence
    SourceImageSequence ReferencedImageSequence ReferencedSeriesSequence ReferencedInstanceSequence
    StudiesContainingOtherReferencedInstancesSequence SourceImageEvidenceSequence ReferencedImageEvidenceSequence
    ReferencedSOPSequence AnatomicRegionSequence AnatomicRegionModifierSequence PrimaryAnatomicStructureSequence
    PrimaryAnatomicStructureModifierSequence ContrastBolusAgentSequence ContrastBolusAdministrationRouteSequence
    ContrastBolusIngredientCodeSequence ContrastAdministrationProfileSequence ContrastBolusUsageSequence
    CTDIPhantomTypeCodeSequence WaterEquivalentDiameterCalculationMethodCodeSequence PatientOrientationCodeSequence
    PatientOrientationModifierCodeSequence PatientGantryRelationshipCodeSequence DimensionOrganizationSequence
    DimensionIndexSequence SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence
    FrameContentSequence PlanePositionSequence PlaneOrientationSequence DerivationImageSequence FrameAnatomySequence
    FrameVOILUTSequence VOILUTSequence RealWorldValueMappingSequence MeasurementUnitsCodeSequence
    CardiacSynchronizationSequence RespiratorySynchronizationSequence IrradiationEventIdentificationSequence
    TemporalPositionSequence CTImageFrameTypeSequence CTAcquisitionTypeSequence CTAcquisitionDetailsSequence
    CTTableDynamicsSequence CTPositionSequence CTGeometrySequence CTReconstructionSequence CTExposureSequence
    CTXRayDetailsSequence CTAdditionalXRaySourceSequence PixelValueTransformationSequence
    UnassignedSharedConvertedAttributesSequence UnassignedPerFrameConvertedAttributesSequence
""")
"""Each item is treated by these same rules."""

KEPT = KEPT_TEXTS | _CODE_STRINGS | _NUMBERS | _CLASSES | _SEQUENCES
"""K, and what the table does not list."""
