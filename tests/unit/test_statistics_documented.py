"""Every statistic says its formula, unit, source, how ties break and what makes it null; names are unique."""

from typing import Any

import pytest

from v6.derivations.catalogue import all_statistics
from v6.derivations.statistic import SECTIONS, Statistic, Value

ALL = [statistic for family in all_statistics().values() for statistic in family]


@pytest.mark.parametrize("statistic", ALL, ids=lambda statistic: statistic.name)
def test_a_statistic_is_documented_whole(statistic: Statistic[Any]) -> None:
    assert statistic.unit
    assert statistic.summary.endswith(".")
    for name in SECTIONS:
        assert statistic.section(name), name


def test_names_are_unique() -> None:
    names = [statistic.name for statistic in ALL]
    assert len(set(names)) == len(names)


def test_a_value_without_a_number_needs_a_reason_and_a_number_is_finite() -> None:
    with pytest.raises(ValueError, match="needs the reason"):
        Value(value=None, observations=1)
    with pytest.raises(ValueError, match="finite"):
        Value(value=float("nan"), observations=1)
