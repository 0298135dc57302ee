"""What OpenAPI tells of the call that reads an image: its form, and the document that it answers."""

from __future__ import annotations

from typing import Any

from service.api import schemas
from service.api.negotiation import ENVELOPES
from service.pipeline import MEDIA_TYPES

IMAGE_TYPES = (ENVELOPES["json"], ENVELOPES["multipart"], MEDIA_TYPES["npy"])
"""What an image that was read can be answered as; the first where the client does not care."""

_FILES = schemas.RECONSTRUCTION_BODY["content"]["multipart/form-data"]["schema"]["properties"]

IMAGE_BODY = schemas.form(
    {
        "image": {**_FILES["image"], "description": _FILES["image"]["description"].replace("degraded ", "")},
        "noise": {
            "type": "boolean",
            "default": True,
            "description": "Whether to read the noise and to ask `auto`; false is quicker.",
        },
        **schemas.RESCALE,
    },
    ["image"],
)

IMAGE_HEADERS: list[dict[str, Any]] = [
    *schemas.REQUEST_HEADERS[:2],
    {
        "name": "Accept",
        "in": "header",
        "description": f"One of {', '.join(IMAGE_TYPES)}. Default: the first.",
        "schema": {"type": "string"},
    },
]


def _object(properties: dict[str, Any], *, description: str = "", nullable: bool = False) -> dict[str, Any]:
    return {
        "type": ["object", "null"] if nullable else "object",
        "description": description,
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _or_none(kind: str, description: str) -> dict[str, Any]:
    return {"type": [kind, "null"], "description": description}


_WINDOW = _object(
    {
        "center": {"type": "number", "description": "In HU."},
        "width": {"type": "number", "minimum": 1, "description": "In HU."},
        "explanation": _or_none("string", "WindowCenterWidthExplanation"),
    }
)

_INSTANCE = _object(
    {
        "sop_instance_uid": _or_none("string", "SOPInstanceUID"),
        "series_instance_uid": _or_none("string", "SeriesInstanceUID"),
        "instance_number": _or_none("integer", "InstanceNumber"),
        "positions": {
            "type": "array",
            "items": {"type": ["number", "null"]},
            "minItems": 1,
            "description": "Of each frame, in mm along the normal of its slice: orders the slices of a series.",
        },
        "orientation": {
            "type": ["array", "null"],
            "items": {"type": "number"},
            "minItems": 6,
            "maxItems": 6,
            "description": "Direction cosines along a row and along a column, of the first frame.",
        },
        "derived": {"type": "boolean", "description": "Whether ImageType says that it was made from other images."},
        "modality": {"type": "string", "example": "CT"},
        "kernel": _or_none("string", "ConvolutionKernel"),
        "slice_thickness": _or_none("number", "mm"),
    },
    description="Of DICOM; null for what it does not state, or not properly. Nothing in it identifies the patient.",
    nullable=True,
)

_NOISE = _object(
    {
        "level": _or_none("number", "Standard deviation in the unit, of CT in soft tissue; the median over frames."),
        "correlation": _or_none("number", "Between neighbouring pixels, -1 to 1."),
        "impulses": _or_none("number", "Share of the pixels that are impulses, 0 to 1."),
    },
    description="As `auto` reads it, of up to six frames; null for what cannot be told. Null where it was not asked.",
    nullable=True,
)

_AUTO = _object(
    {
        "model": _or_none("string", "As in `ct-l2@3`, or null when there is none."),
        "reason": {"type": "string", "description": "Why this one, or why none."},
    },
    description="What `model=auto` would choose. Null where the noise was not asked.",
    nullable=True,
)

_DOCUMENT = _object(
    {
        "format": {"type": "string", "enum": ["dicom", "png", "tiff", "npy"]},
        "unit": {"type": "string", "enum": ["HU", "relative"]},
        "frames": {"type": "integer", "minimum": 1},
        "rows": {"type": "integer", "minimum": 1},
        "columns": {"type": "integer", "minimum": 1},
        "spacing": {
            "type": ["array", "null"],
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "Between rows and between columns, in mm.",
        },
        "windows": {
            "type": "array",
            "items": _WINDOW,
            "description": "What a DICOM file recommends, of Enhanced CT for its first frame; else empty.",
        },
        "instance": _INSTANCE,
        "noise": _NOISE,
        "auto": _AUTO,
        "request_id": {"type": "string"},
    }
)

IMAGE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What the file holds; its pixels too where they were asked for.",
        "headers": {
            name: schemas.ANSWER_HEADERS[name] for name in ("X-Request-ID", "Clearslice-Unit", "Clearslice-Frames")
        },
        "content": {kind: {"schema": _DOCUMENT if kind == ENVELOPES["json"] else schemas.FILE} for kind in IMAGE_TYPES},
    },
    **schemas.problems(400, 401, 403, 406, 408, 413, 415, 421, 422, 429, 500, 503, 504),
}
