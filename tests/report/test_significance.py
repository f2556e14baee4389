import pytest

from hw1.report.significance import holm, two_proportion_p, wilson_interval


def test_wilson_interval_of_half_of_a_hundred():
    # centre 0.5; reach 1.96 sqrt(0.0025 + 3.8415 / 40000) / 1.038415 = 0.09617
    assert wilson_interval(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)


def test_wilson_interval_of_no_success_ends_above_zero():
    # 0 to z^2 / (n + z^2) = 3.8415 / 13.8415
    assert wilson_interval(0.0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)


def test_wilson_interval_of_all_successes_ends_at_one():
    assert wilson_interval(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)


def test_two_proportion_p_of_a_hand_worked_case():
    # pooled 0.55, standard error sqrt(2 x 0.2475 / 200) = 0.049749, z = 2.0101
    assert two_proportion_p(0.6, 0.5, 200) == pytest.approx(0.04442, abs=1e-4)


def test_two_proportion_p_does_not_depend_on_the_order():
    assert two_proportion_p(0.3, 0.4, 406) == two_proportion_p(0.4, 0.3, 406)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_equal_shares_have_p_one(share):
    assert two_proportion_p(share, share, 100) == 1.0


def test_holm_multiplies_by_the_tests_left_and_never_falls():
    # sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_stays_at_most_one():
    assert holm([0.6, 0.7]) == [1.0, 1.0]
