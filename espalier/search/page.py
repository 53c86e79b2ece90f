"""What the page of a study shows above its runs."""

from __future__ import annotations

from espalier.search.record import StudyRecord
from espalier.search.sections.charts import charts
from espalier.search.sections.overview import means, overview
from espalier.search.sections.trials import failures, trials


def study_sections(record: StudyRecord) -> str:
    """The sections in their order, as HTML."""
    return overview(record) + means(record) + charts(record) + trials(record) + failures(record)
