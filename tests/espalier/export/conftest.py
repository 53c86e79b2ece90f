"""For the tests of exports."""

import pytest

from espalier.export import latency


@pytest.fixture(autouse=True)
def timed_by_few_calls(monkeypatch):
    """Times of calls are from as few as there may be: no test looks at them."""
    monkeypatch.setattr(latency, "BUDGET_S", 0.0)
