"""The rules of claims.csv: each can be read, and a verdict follows from the ends of the intervals alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_utils.base.errors import ProfileError
from paper_utils.runs import claims, rules

RULES = {id: row["rule"] for id, row in claims.published().items() if row["rule"]}
INTERVAL = st.lists(st.floats(-10, 10), min_size=3, max_size=3).map(lambda x: (sorted(x)[1], min(x), max(x)))


@pytest.mark.parametrize("id", RULES)
def test_every_rule_can_be_read(id):
    conditions = rules.parse(RULES[id])
    assert len(conditions) == RULES[id].count(";") + 1
    assert {condition.name for condition in conditions} <= set(rules.names(RULES[id]))


def test_all_rows_have_a_known_kind():
    assert {row["kind"] for row in claims.published().values()} == {
        "exact", "size", "statistic", "order", "figure", "table",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "parts", "status"),
    [
        # All true at the unfavourable ends; any false at the favourable ends; neither.
        ("a < 0.5", {"a": (0.3, 0.2, 0.4)}, "holds"),
        ("a < 0.5", {"a": (0.3, 0.2, 0.5)}, "open"),
        ("a < 0.5", {"a": (0.6, 0.5, 0.7)}, "fails"),
        ("a <= 0.5", {"a": (0.3, 0.2, 0.5)}, "holds"),
        ("a >= 72", {"a": (75, 72, 80)}, "holds"),
        ("a > 72", {"a": (75, 72, 80)}, "open"),
        ("a > 72", {"a": (70, 60, 72)}, "fails"),
        ("a in [0.2, 0.4]", {"a": (0.3, 0.2, 0.4)}, "holds"),
        ("a in [0.2, 0.4]", {"a": (0.3, 0.1, 0.35)}, "open"),
        ("a in [0.2, 0.4]", {"a": (0.3, 0.1, 0.5)}, "open"),
        ("a in [0.2, 0.4]", {"a": (0.5, 0.45, 0.6)}, "fails"),
        ("a = 0.7", {"a": 7 / 10}, "holds"),
        ("a = 0.3", {"a": 0.1 + 0.2}, "holds"),
        ("a = 20", {"a": (21, 19, 22)}, "open"),
        ("a = 20", {"a": 19}, "fails"),
        ("a = 5-11-21", {"a": "5-11-21"}, "holds"),
        ("a = 5-11-21", {"a": "5-11"}, "fails"),
        ("a < b", {"a": (1, 0, 2), "b": (4, 3, 5)}, "holds"),
        ("a < b", {"a": (1, 0, 4), "b": (4, 3, 5)}, "open"),
        ("a < b", {"a": (4, 3, 5), "b": (2, 1, 3)}, "fails"),
        ("a > b", {"a": (4, 3, 5), "b": (2, 1, 2.9)}, "holds"),
        # The paired difference decides where it was recorded, whatever the intervals of the two.
        ("a < b", {"a": (1, 0, 4), "b": (2, 1, 5), "a-b": (-1, -1.5, -0.5)}, "holds"),
        ("a > b", {"a": (1, 0, 4), "b": (2, 1, 5), "a-b": (-1, -1.5, -0.5)}, "fails"),
        ("a < b", {"a": (1, 0, 2), "b": (4, 3, 5), "a-b": (-1, -3, 1)}, "open"),
        # Several: one that is false decides, then one that is open.
        ("a > 1; b > 1", {"a": (3, 2, 4), "b": (3, 2, 4)}, "holds"),
        ("a > 1; b > 1", {"a": (3, 2, 4), "b": (1, 0, 2)}, "open"),
        ("a > 1; b > 1", {"a": (1, 0, 2), "b": (0, -1, 1)}, "fails"),
        ("", {"a": 1}, "reported"),
    ],
)  # fmt: skip
def test_verdicts(rule, parts, status):
    assert rules.verdict(rule, "exact", parts) == status


def test_what_is_smaller_than_published_is_scaled():
    assert rules.verdict("n = 100; m = 3", "size", {"n": 10, "m": 3}) == "scaled"
    assert rules.verdict("n = 100; m = 3", "size", {"n": 100, "m": 3}) == "holds"


def test_one_seed_is_open_at_best():
    good, bad = {"a": (3, 2, 4)}, {"a": (0, -1, 1)}
    for seeds, status in ((1, "open"), (2, "open"), (3, "holds"), (None, "holds")):
        assert rules.verdict("a > 1", "order", good, seeds) == status
        assert rules.verdict("a > 1", "order", bad, seeds) == "fails"
        assert rules.verdict("", "statistic", good, seeds) == "reported"


@pytest.mark.parametrize(("kind", "status"), [("statistic", "open"), ("order", "open"), ("exact", "holds")])
def test_a_measured_number_without_its_interval_is_open_at_best(kind, status):
    assert rules.verdict("a > 1", kind, {"a": 3.0}) == status
    assert rules.verdict("a > 1", kind, {"a": 1.0}) == "fails"


@given(a=INTERVAL, b=INTERVAL, sign=st.sampled_from(["<", "<=", ">", ">="]))
def test_two_names_are_judged_as_their_values_at_every_corner_are(a, b, sign):
    corners = {rules.COMPARE[sign](x, y) for x in a[1:] for y in b[1:]}
    expected = "open" if len(corners) == 2 else "holds" if corners == {True} else "fails"
    assert rules.verdict(f"a {sign} b", "exact", {"a": a, "b": b}) == expected


@pytest.mark.parametrize(
    "rule", ["a", "a <", "a << 3", "a in 3", "a in [3]", "a in [b, 3]", "3 < a", "a < b c", "a < 3;"]
)
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(ProfileError, match="no condition"):
        rules.parse(rule)


def test_a_word_where_a_number_is_needed_is_refused():
    with pytest.raises(ProfileError, match=r"a is 'unknown'.*number"):
        rules.verdict("a > 3", "exact", {"a": "unknown"})
