"""What is written down of a job: what was accepted, what became of each slice, and how it ended.

job.json: Job        00001.json: Slice, beside its derived instance        outcome.json: Outcome, the last to be there

JSON, and no patient data.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

State = Literal["queued", "running", "done", "failed"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version of the program may have written more


class Job(_Record):
    """A series to restore; settled when it was accepted.

    Attributes:
        id: 32 hexadecimal digits.
        ticket: under which the durable engine knows it; another one for each job, also of one id.
        owner: name of the API key that it came with, or of a token's subject; empty without.
        created: when it was accepted.
        model: ref of the version, as in `ct-l2@3`.
        weights_sha256: of the version.
        precision: in which every slice is computed.
        chosen: why `auto` chose the version; empty where the client did.
        strength: 0 to 1.
        instances: how many DICOM instances.
        result_bytes: about how large the result will be.
        left_out: kind of file -> how many were not part of the series.
        request_sha256: of what was asked, upload included: a repeated request is recognised by it.
    """

    id: str
    ticket: str
    owner: str
    created: AwareDatetime
    model: str
    weights_sha256: str
    precision: str
    chosen: str
    strength: float
    instances: int
    result_bytes: int
    left_out: dict[str, int]
    request_sha256: str

    @property
    def series_begun(self) -> AwareDatetime:
        """SeriesDate and SeriesTime of the derived series."""
        return self.created

    @property
    def revision(self) -> int:
        """Of the derived series: a job is another one each time."""
        return 0

    @property
    def count(self) -> int:
        """How many instances."""
        return self.instances


class Slice(_Record):
    """What became of one instance.

    Attributes:
        reencoded: whether it could not keep its source's encoding.
        clipped: pixels beyond what DICOM can hold.
        warnings: what the guard found.
        crc32: of the file of its derived instance.
        source: SOPInstanceUID of the source instance.
    """

    reencoded: bool
    clipped: int
    warnings: tuple[str, ...]
    crc32: int
    source: str


class Outcome(_Record):
    """How a job ended.

    Attributes:
        state: done or failed.
        finished: when.
        precision: in which all slices were computed; empty where it failed.
        reencoded: whether the derived series has another encoding than its source.
        clipped: pixels, of all slices.
        warned: slices that the guard found unlike what the model was made for.
        problem: why it failed, as a problem document (RFC 9457).
    """

    state: Literal["done", "failed"]
    finished: AwareDatetime
    precision: str = ""
    reencoded: bool = False
    clipped: int = 0
    warned: int = 0
    problem: dict[str, Any] | None = None
