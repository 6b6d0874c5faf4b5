"""A record refuses what contradicts itself."""

import pytest

from pfir.errors import UsageError
from tests.test_report.sample import finished


def test_fidelity_data_is_given_or_generated():
    with pytest.raises(UsageError, match="given or generated"):
        finished(fidelity_data="guessed")
