"""What OpenAPI tells of the calls of the PACS node: bodies and answers.

STOW-RS speaks the DICOM JSON model where instances were looked at, and problem documents where they were not.
"""

from __future__ import annotations

from typing import Any, get_args

from service.api import schemas
from service.api.problems import MEDIA_TYPE
from service.pacs.live import State

_STORED_TYPE, _STORED_SCHEMA = "application/dicom+json", {"schema": {"type": "object"}}
_STORED: dict[str, Any] = {
    "description": "Store Instances Response (PS3.18 10.5.3).",
    "content": {_STORED_TYPE: _STORED_SCHEMA},
}

STOW_RESPONSES: dict[int | str, dict[str, Any]] = {
    **schemas.problems(400, 401, 403, 408, 413, 415, 421, 429, 500),
    **dict.fromkeys((200, 202, 409), _STORED),
    503: {
        "description": "No room on the disk; or, as a problem document, no PACS node, or about to end.",
        "content": {_STORED_TYPE: _STORED_SCHEMA, MEDIA_TYPE: {"schema": schemas.PROBLEM}},
    },
}

STOW_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/related": {"schema": {"type": "string", "format": "binary"}},
        "application/dicom": {"schema": {"type": "string", "format": "binary"}},
    },
}

PULL_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["peer", "series"],
                "additionalProperties": False,
                "properties": {
                    "peer": {"type": "string", "description": "Name of a DICOMweb peer in pacs.toml."},
                    "series": {"type": "string", "description": "SeriesInstanceUID."},
                    "study": {"type": "string", "description": "StudyInstanceUID, if it is known."},
                },
            }
        }
    },
}

SERIES_LIMIT, MOST_SERIES = 200, 1000
"""Series in one list, unless told otherwise, and at most: each is about half a kilobyte."""

SERIES_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "state",
        "in": "query",
        "description": "Only series in this state. Default: all.",
        "schema": {"type": "string", "enum": list(get_args(State))},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "So many, the newest first.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_SERIES, "default": SERIES_LIMIT},
    },
]

SERIES_LIST: dict[str, Any] = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["series", "more"],
                "properties": {
                    "series": {"type": "array", "items": {"type": "object"}},
                    "more": {"type": "boolean", "description": "Whether there are older ones that are left out."},
                },
            }
        }
    }
}

PACS_OBJECT = {"content": {"application/json": {"schema": {"type": "object"}}}}
