"""An engine's Answer -> an HTTP response in the representation that was negotiated.

Answer  --bare------> the image, all else in headers
        --json------> one document, the image in it as base64
        --multipart-> the document and the image as two parts, and a part for each further output
Answers --json, multipart-> one document about all of them, and their images likewise
Frames that were only looked at --json, multipart, bare--> what is said of them, with their pixels, and these alone
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from imaging.formats import encode_npy
from imaging.frames import Frames
from service.answer import Answer
from service.api.negotiation import ENVELOPES, Envelope
from service.pipeline import Encoded
from service.scores import compact

MODEL_HEADER = "Clearslice-Model"
METRICS_HEADER = "Clearslice-Metrics"
CHOICE_HEADER = "Clearslice-Auto"
WARNING_HEADER = "Clearslice-Warning"
OUTPUT_HEADER = "Clearslice-Output"
"""Of a part: which output it is."""

OF_ONE_REQUEST = {"Cache-Control": "no-store", "Vary": "Accept"}
"""Headers of every answer: it is for who asked, and as they asked for it."""


def respond(answer: Answer, envelope: Envelope, *, request_id: str) -> Response:
    """The whole response; its headers are the same in every envelope."""
    headers = answer_headers(answer)
    encoded = answer.encoded
    if envelope == "bare":
        return Response(encoded.data, media_type=encoded.media_type, headers=headers)
    document = answer_document(answer, request_id=request_id)
    if envelope == "json":
        _add_data(document, answer)
        return Response(_json(document), media_type=ENVELOPES["json"], headers=headers)
    parts = [(f"{OUTPUT_HEADER}: {name}\r\n", each) for name, each in {"restored": encoded, **answer.others}.items()]
    return _multipart(document, parts, headers)


def respond_comparison(answers: Sequence[Answer], envelope: Envelope, *, request_id: str) -> Response:
    """What several models made of one image; `bare` has no place for that."""
    first = answers[0]
    models = [answer_document(answer, request_id=request_id) for answer in answers]
    document = {
        "models": models,
        "degraded": None if first.scores is None else [degraded_only(entry) for entry in first.scores],
        "request_id": request_id,
    }
    headers = {**OF_ONE_REQUEST, "Clearslice-Unit": first.unit}
    if envelope == "json":
        for described, answer in zip(models, answers, strict=True):
            _add_data(described, answer)
        return Response(_json(document), media_type=ENVELOPES["json"], headers=headers)
    parts = [(f"{MODEL_HEADER}: {answer.version.ref}\r\n", answer.encoded) for answer in answers]
    return _multipart(document, parts, headers)


def respond_look(frames: Frames, said: dict[str, Any], media_type: str, *, request_id: str) -> Response:
    """What was found in a file.

    Args:
        frames: of the file.
        said: of them, for JSON.
        media_type: of JSON, of multipart/mixed, or else of NPY.
        request_id: for the document.
    """
    headers = {**OF_ONE_REQUEST, "Clearslice-Unit": frames.unit, "Clearslice-Frames": str(len(frames))}
    document = {**said, "request_id": request_id}
    if media_type == ENVELOPES["json"]:
        return Response(_json(document), media_type=media_type, headers=headers)
    pixels = Encoded(encode_npy([image.pixels for image in frames]), "npy")
    if media_type == ENVELOPES["multipart"]:
        return _multipart(document, [("", pixels)], headers)
    return Response(pixels.data, media_type=pixels.media_type, headers=headers)


def degraded_only(entry: dict[str, Any]) -> dict[str, Any]:
    """Of an entry of scores, what is said of the degraded image."""
    return {name: entry[name] for name in ("contract", "degraded")}


def _add_data(document: dict[str, Any], answer: Answer) -> None:
    for described, each in zip(
        (document["image"], *document["outputs"].values()), (answer.encoded, *answer.others.values()), strict=True
    ):
        described["data"] = base64.b64encode(each.data).decode("ascii")


def _multipart(document: dict[str, Any], files: Sequence[tuple[str, Encoded]], headers: dict[str, str]) -> Response:
    """The document, then each file after header lines of its own."""
    boundary = secrets.token_hex(16)
    parts = [("", ENVELOPES["json"], _json(document)), *((more, each.media_type, each.data) for more, each in files)]
    body = b"".join(
        f"--{boundary}\r\nContent-Type: {media_type}\r\n{more}Content-Length: {len(data)}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for more, media_type, data in parts
    )
    media_type = f'{ENVELOPES["multipart"]}; boundary="{boundary}"'
    return Response(body + f"--{boundary}--\r\n".encode(), media_type=media_type, headers=headers)


def answer_headers(answer: Answer) -> dict[str, str]:
    """What every answer tells beside its image."""
    headers = {
        MODEL_HEADER: answer.version.ref,
        "Clearslice-Precision": answer.precision,
        "Clearslice-Device": answer.device,
        "Clearslice-Strength": f"{answer.strength:g}",
        "Clearslice-Unit": answer.unit,
        "Clearslice-Frames": str(answer.frames),
        "Server-Timing": server_timing(answer.seconds),
        **OF_ONE_REQUEST,
    }
    if answer.encoded.rescale is not None:
        rescale = answer.encoded.rescale
        headers["Clearslice-Rescale"] = f"slope={rescale.slope!r}, intercept={rescale.intercept!r}"
    if answer.encoded.clipped:
        headers["Clearslice-Clipped"] = str(answer.encoded.clipped)
    if answer.chosen:
        headers[CHOICE_HEADER] = answer.chosen
    if answer.warnings:
        headers[WARNING_HEADER] = "; ".join(answer.warnings)
    if answer.scores is not None:
        headers[METRICS_HEADER] = compact(answer.scores)
    return headers


def answer_document(answer: Answer, *, request_id: str) -> dict[str, Any]:
    """The same as JSON, with the metrics in full; the image's bytes are the caller's to add."""
    return {
        "model": {
            "ref": answer.version.ref,
            "weights_sha256": answer.version.weights_sha256,
            "precision": answer.precision,
            "device": answer.device,
        },
        "strength": answer.strength,
        "image": _described(answer, answer.encoded),
        "outputs": {name: _described(answer, each) for name, each in answer.others.items()},
        "chosen": answer.chosen or None,
        "warnings": list(answer.warnings),
        "metrics": answer.scores,
        "notes": list(answer.encoded.notes),
        "seconds": {step: round(seconds, 6) for step, seconds in answer.seconds.items()},
        "request_id": request_id,
    }


def _described(answer: Answer, encoded: Encoded) -> dict[str, Any]:
    """A file of the answer, without its bytes."""
    rescale = encoded.rescale
    return {
        "media_type": encoded.media_type,
        "frames": answer.frames,
        "rows": answer.shape[0],
        "columns": answer.shape[1],
        "unit": answer.unit,
        "rescale": None if rescale is None else {"slope": rescale.slope, "intercept": rescale.intercept},
        "clipped": encoded.clipped,
    }


def server_timing(seconds: dict[str, float]) -> str:
    """A Server-Timing header (W3C), in milliseconds."""
    return ", ".join(f"{step};dur={1000 * spent:.3f}" for step, spent in seconds.items())


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
