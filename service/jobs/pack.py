"""The result of a job: all its derived instances, and a report, in one zip file.

derived/ --pack--> result.zip --> Outcome
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from datetime import datetime

from service.files import flush_folder
from service.jobs.record import Job, Outcome, Slice
from service.jobs.spool import Entry

REPORT = "report.json"
"""In the archive, beside the derived instances."""


def pack(entry: Entry, job: Job, facts: Mapping[int, Slice], finished: datetime) -> Outcome:
    """Makes the archive; on the disk when this returns.

    Args:
        entry: of the job.
        job: what was accepted, with the precision that it was computed in.
        facts: of each instance, by their numbers, in order.
        finished: now.

    Raises:
        OSError: the disk refuses it.
    """
    outcome = Outcome(
        state="done",
        finished=finished,
        precision=job.precision,
        reencoded=any(each.reencoded for each in facts.values()),
        clipped=sum(each.clipped for each in facts.values()),
        warned=sum(bool(each.warnings) for each in facts.values()),
    )
    report = {
        **described(job),
        "reencoded": outcome.reencoded,
        "files": [
            {
                "file": entry.derived(number).name,
                **each.model_dump(mode="json", include={"source", "clipped", "warnings"}),
            }
            for number, each in facts.items()
        ],
    }
    aside = entry.result.with_suffix(".part")
    # stored, not deflated: noise hardly shrinks, and the time would be a third of the network's
    with aside.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for number in facts:
                archive.write(entry.derived(number), entry.derived(number).name)
            archive.writestr(REPORT, json.dumps(report, indent=1, ensure_ascii=False))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(entry.result)
    flush_folder(entry.folder)
    return outcome


def described(job: Job) -> dict[str, object]:
    """What clients are told of a job from its acceptance on."""
    return {
        "model": job.model,
        "weights_sha256": job.weights_sha256,
        "precision": job.precision,
        **({"chosen": job.chosen} if job.chosen else {}),
        "strength": job.strength,
        "left_out": job.left_out,
    }
