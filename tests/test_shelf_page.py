"""docs/shelf.md equals what docs/shelf.py makes of the published manifests."""

from __future__ import annotations

import runpy
from pathlib import Path

from model_store.store import PUBLISHED, ModelStore

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "shelf.py"))
STORE = ModelStore(None, PUBLISHED)


def test_the_page_is_up_to_date():
    assert SCRIPT["page"](STORE) == (ROOT / "docs" / "shelf.md").read_text(encoding="utf-8"), "run: make docs"


def test_every_model_has_a_line_with_its_scores_and_the_cards_are_there():
    page = SCRIPT["page"](STORE)
    for name in STORE.names():
        version = STORE.resolve(name)
        card = f"model_store/published/{name}/{version.version}/README.md"
        assert (ROOT / card).is_file()
        (line,) = (line for line in page.splitlines() if f"(../{card})" in line)
        main = SCRIPT["MAIN"][version.manifest.unit]
        psnr = next(
            score
            for score in version.manifest.scores
            if (score.metric, score.contract.name) == ("psnr", main) and "fraction 1 " not in score.degradation
        )
        assert f" {psnr.restored:.2f} |" in line
