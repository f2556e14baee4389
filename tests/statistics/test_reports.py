"""The seven public reports, and how they agree."""

import pytest
from scipy.stats import binomtest, ttest_1samp

from hw1.statistics.reports import REPORTS, agreement


def test_each_has_nine_figures_in_percent_and_an_address():
    for report in REPORTS:
        figures = [value for of_problem in report.figures.values() for value in of_problem.values()]
        assert len(figures) == 9 and all(0 < value < 100 for value in figures)
    assert len({report.address for report in REPORTS}) == len(REPORTS) == 7


@pytest.mark.parametrize(
    "pair, above", [("CA", 7), ("BA", 7), ("BD", 7), ("CE", 7), ("BC", 5), ("DE", 5), ("AE", 5), ("DC", 1)]
)
def test_counts_and_tests_are_those_of_an_independent_library(pair, above):
    first, second = pair
    found = agreement("p2", first, second)
    differences = [each.figures["p2"][first] - each.figures["p2"][second] for each in REPORTS]
    assert (found.above, found.reports) == (above, 7)
    assert found.p == pytest.approx(binomtest(above, 7).pvalue)
    reference = ttest_1samp(differences, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))


def test_byols_help_is_the_same_in_all_and_d_above_c_in_the_report_alone():
    assert agreement("p2", "C", "A").text == "7 of 7 (+9.5, 2.1 to 17.0, sign test p = 0.016)"
    (alone,) = [report for report in REPORTS if report.figures["p2"]["D"] > report.figures["p2"]["C"]]
    assert alone is REPORTS[0]
