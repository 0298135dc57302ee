"""What OpenAPI says of bodies that this program reads and writes itself, since FastAPI cannot see into them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from service.api.fields import MAX_COMPARED
from service.api.negotiation import ALL_TYPES
from service.api.problems import MEDIA_TYPE, TABLE
from service.scores import METRICS

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "A problem document (RFC 9457). Some kinds have further members, such as `setting` or `fields`.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "example": "/problems/unit-mismatch"},
        "title": {"type": "string", "example": "The model takes images in another unit"},
        "status": {"type": "integer", "example": 422},
        "detail": {"type": "string", "description": "What is wrong, what was found, what would be right."},
    },
}

FILE: dict[str, Any] = {"type": "string", "format": "binary"}
RESCALE: dict[str, Any] = {
    "rescale_slope": {
        "type": "number",
        "example": 1,
        "description": "HU = slope x value + intercept, for PNG, TIFF and NPY.",
    },
    "rescale_intercept": {"type": "number", "example": -1024, "description": "Belongs to rescale_slope."},
}
_METRICS: dict[str, Any] = {
    "metrics": {
        "type": "string",
        "description": f"true, false, or some of {', '.join(METRICS)}, comma-separated. Default: all.",
        "example": "psnr,ssim",
    }
}


def form(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """A multipart form of these parts and no others."""
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": False}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def json_body(kind: type[BaseModel]) -> dict[str, Any]:
    """A JSON body that this program reads itself."""
    return {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}


RECONSTRUCTION_BODY = form(
    {
        "image": {
            **FILE,
            "description": "The degraded image: a DICOM CT slice, a grayscale PNG (8 or 16 bits), a grayscale TIFF"
            " (also several pages, all alike) or NPY, (H, W) or (N, H, W).",
        },
        "reference": {**FILE, "description": "The truth, of as many frames, the same size and unit, for metrics."},
        "model": {
            "type": "string",
            "example": "ct-l2@stable",
            "description": "Default: the store's default model. `auto`: by the noise.",
        },
        "outputs": {
            "type": "string",
            "default": "restored",
            "example": "restored,lower,upper",
            "description": "What the answer has: restored, and of models that give them lower and upper, or sigma."
            " Several come as multipart/mixed, or as JSON if the Accept header says so.",
        },
        "strength": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "default": 1,
            "description": "image + strength x (restored - image); 0 gives the image back bit for bit.",
        },
        **_METRICS,
        **RESCALE,
    },
    ["image"],
)

COMPARISON_BODY = form(
    {
        **{
            name: schema
            for name, schema in RECONSTRUCTION_BODY["content"]["multipart/form-data"]["schema"]["properties"].items()
            if name not in {"model", "outputs"}
        },
        "models": {
            "type": "string",
            "example": "ct-l2,ct-l1-ssim@stable,auto",
            "description": f"1 to {MAX_COMPARED} model refs, comma-separated; all take the image's unit.",
        },
    },
    ["image", "models"],
)

METRICS_BODY = form(
    {
        "image": {**FILE, "description": "The image to measure."},
        "reference": {**FILE, "description": "What it is measured against."},
        "metrics": {**_METRICS["metrics"], "description": f"Some of {', '.join(METRICS)}. Default: all."},
        **RESCALE,
    },
    ["image", "reference"],
)

REQUEST_HEADERS: list[dict[str, Any]] = [
    {
        "name": "X-Request-Timeout",
        "in": "header",
        "description": "Seconds from the end of the upload to the answer; the server's own limit caps it.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Comes back in the answer and in the log; made when absent or not `[A-Za-z0-9._-]{1,64}`.",
        "schema": {"type": "string"},
    },
    {
        "name": "Accept",
        "in": "header",
        "description": f"One of {', '.join(ALL_TYPES)}. Default: the format of the image.",
        "schema": {"type": "string"},
    },
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of those statuses, each described by the titles of `problems.TABLE` that have it."""
    return {
        status: {
            "description": "; ".join(kind.title for kind in TABLE.values() if kind.status == status) + ".",
            "content": {MEDIA_TYPE: {"schema": PROBLEM}},
        }
        for status in statuses
    }


ANSWER_HEADERS = {
    name: {"description": description, "schema": {"type": "string"}}
    for name, description in {
        "X-Request-ID": "Names this request in the log.",
        "Clearslice-Model": "The model version used, as in `ct-l2@3`.",
        "Clearslice-Precision": "`float32` or `bfloat16`.",
        "Clearslice-Device": "`CPU:0` or `GPU:0`.",
        "Clearslice-Strength": "The strength used.",
        "Clearslice-Unit": "`HU` or `relative`.",
        "Clearslice-Frames": "How many images the file holds.",
        "Clearslice-Rescale": "For PNG, TIFF and NPY: `slope=..., intercept=...` from the file's values to the unit.",
        "Clearslice-Clipped": "Pixels beyond what the file can hold; absent when there are none.",
        "Clearslice-Auto": "Why `auto` chose this model; absent otherwise.",
        "Clearslice-Warning": "What the guard found unlike the images that the model was made for; mostly absent.",
        "Clearslice-Metrics": "With a reference: the metrics on one line of JSON, of several frames their means.",
        "Server-Timing": "Milliseconds of decode, queue, infer and encode, all frames together.",
    }.items()
}

_DOCUMENT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "object", "description": "ref, weights_sha256, precision, device"},
        "strength": {"type": "number"},
        "image": {
            "type": "object",
            "description": "media_type, frames, rows, columns, unit, rescale, clipped, and in JSON data (base64)",
        },
        "outputs": {"type": "object", "description": "As image, of each further output by its name."},
        "chosen": {"type": ["string", "null"], "description": "Why `auto` chose this model."},
        "warnings": {"type": "array", "items": {"type": "string"}, "description": "What the guard found, if anything."},
        "metrics": {"type": ["array", "null"], "items": {"type": "object"}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "seconds": {"type": "object", "description": "decode, queue, infer, encode"},
        "request_id": {"type": "string"},
    },
}

RECONSTRUCTION_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The restored image.",
        "headers": ANSWER_HEADERS,
        "content": {kind: {"schema": _DOCUMENT if kind == "application/json" else FILE} for kind in ALL_TYPES},
    },
    **problems(400, 401, 403, 404, 406, 408, 413, 415, 421, 422, 429, 500, 503, 504),
}

COMPARISON_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What each model made of it, in the order asked for.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "models": {"type": "array", "items": _DOCUMENT},
                        "degraded": {
                            "type": ["array", "null"],
                            "items": {"type": "object"},
                            "description": "With a reference: the metrics of the degraded image.",
                        },
                        "request_id": {"type": "string"},
                    },
                }
            },
            "multipart/mixed": {"schema": FILE},
        },
    },
    **problems(400, 401, 403, 404, 406, 408, 413, 415, 421, 422, 429, 500, 503, 504),
}

JOB_BODY = form(
    {
        "series": {
            **FILE,
            "description": "A zip or tar file (also .tar.gz) of the DICOM instances of one CT series, or one instance.",
        },
        "model": RECONSTRUCTION_BODY["content"]["multipart/form-data"]["schema"]["properties"]["model"],
        "strength": RECONSTRUCTION_BODY["content"]["multipart/form-data"]["schema"]["properties"]["strength"],
    },
    ["series"],
)

JOB_HEADERS: list[dict[str, Any]] = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Any text that the client has not used before. The request can then be repeated safely: the same"
        " key, file and fields are the same job.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }
]

_JOB: dict[str, Any] = {
    "type": "object",
    "required": ["id", "state", "progress", "links"],
    "properties": {
        "id": {"type": "string"},
        "state": {"type": "string", "enum": ["queued", "running", "done", "failed"]},
        "created": {"type": "string", "format": "date-time"},
        "finished": {"type": "string", "format": "date-time"},
        "expires": {"type": "string", "format": "date-time", "description": "When its images are removed."},
        "model": {"type": "string", "example": "ct-l2@3"},
        "weights_sha256": {"type": "string"},
        "precision": {"type": "string"},
        "chosen": {"type": "string", "description": "Why `auto` chose this model."},
        "strength": {"type": "number"},
        "left_out": {"type": "object", "description": "Kind of file -> how many were not part of the series."},
        "progress": {"type": "object", "description": "done and total, in DICOM instances."},
        "reencoded": {"type": "boolean", "description": "Whether the series could not keep its source's encoding."},
        "clipped": {"type": "integer"},
        "warned": {"type": "integer", "description": "Instances that the guard found unlike the model's usual ones."},
        "problem": PROBLEM,
        "links": {"type": "object"},
    },
}


JOB_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["queued", "running", "done", "failed", "removed"]},
        "data": {"type": "string", "description": "The job, as JSON."},
        "retry": {"type": "integer"},
    },
}


def job_responses(*statuses: int, success: int = 200) -> dict[int | str, dict[str, Any]]:
    """A job as JSON, and problems."""
    return {
        success: {"description": "The job.", "content": {"application/json": {"schema": _JOB}}},
        **problems(401, 403, 421, 503, *statuses),
    }


METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "One entry per contract."},
    **problems(400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503, 504),
}

_ERROR: dict[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}

PROTOCOL_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "As the protocol has it."},
    "default": {"description": "Refused; `error` says why.", "content": {"application/json": {"schema": _ERROR}}},
}

_TENSORS: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype"],
                "properties": {
                    "name": {"type": "string", "example": "image"},
                    "shape": {"type": "array", "items": {"type": "integer"}, "example": [1, 2, 2, 1]},
                    "datatype": {"type": "string", "example": "FP32"},
                    "data": {"type": "array", "items": {}, "example": [40, 42, 38, 41]},
                    "parameters": {"type": "object"},
                },
            },
        },
        "outputs": {"type": "array", "items": {"type": "object"}},
        "parameters": {"type": "object"},
    },
}

INFER: dict[str, Any] = {
    "parameters": [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "Bytes of the JSON part, where binary tensors follow it.",
            "schema": {"type": "integer"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _TENSORS}, "application/octet-stream": {"schema": FILE}},
    },
}

MODEL_RESPONSES: dict[int | str, dict[str, Any]] = {
    **problems(400, 401, 404, 421, 503),
    # also keeps FastAPI from listing its own validation error, which we never answer
    "default": {"description": "Any other problem.", "content": {MEDIA_TYPE: {"schema": PROBLEM}}},
}
