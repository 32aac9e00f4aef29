import polars as pl

from stages.reporting.verdict import (
    difference,
    join,
    rule_sentence,
    served_sentence,
    short,
    verdict,
)

RULE = "The rule."
GENERATORS, RANKERS = ["popularity", "ease", "id", "history"], ["ranker_a", "ranker_b"]


def run(figures: dict[str, float], pairs: list[tuple], half: float = 0.01) -> list[str]:
    """The verdict on these values of ndcg@10.

    `pairs` are system, against, the ends of the difference's interval, p_holm; a difference is in
    the middle of its interval. Each system's own interval ends `half` from its value.
    """
    rows = [
        (s, a, metric, (low + high) / 2, low, high, p, p < 0.05)
        for s, a, low, high, p in pairs
        for metric in ("recall@10", "ndcg@10")
    ]
    names = ["system", "against", "metric", "difference", "low", "high", "p_holm", "significant"]
    own = [(s, "ndcg@10", value - half, value + half) for s, value in figures.items()]
    return verdict(
        {system: {"ndcg@10": value} for system, value in figures.items()},
        pl.DataFrame(rows, schema=names, orient="row"),
        pl.DataFrame(own, schema=["system", "metric", "low", "high"], orient="row"),
        [name for name in GENERATORS if name in figures],
        [name for name in RANKERS if name in figures],
        RULE,
    )


def test_a_significantly_better_ranker() -> None:
    figures = {"popularity": 0.05, "id": 0.1, "history": 0.12, "fusion": 0.125, "ranker_a": 0.16}
    leads = [
        ("ranker_a", "popularity", 0.09, 0.13, 0.0),
        ("ranker_a", "history", 0.02, 0.06, 0.0002),
        ("ranker_a", "fusion", 0.01, 0.06, 0.004),
    ]
    assert run(figures, leads) == [
        "ranker_a is best by ndcg@10 on the test targets with .160, .040 "
        "(95% interval .020 to .060) more than history, the best generator.",
        "Its lead over fusion, history and popularity is significant after Holm's correction "
        "(p = .004).",
        RULE,
    ]


def test_a_lead_that_is_not_significant_is_called_so() -> None:
    figures = {"popularity": 0.05, "history": 0.12, "ranker_a": 0.125}
    leads = [
        ("ranker_a", "popularity", 0.05, 0.1, 0.0),
        ("ranker_a", "history", -0.01, 0.02, 0.4),
    ]
    first, second, _ = run(figures, leads)
    assert (
        ".005 (95% interval -.010 to .020) more than history, the best generator and the" in first
    )
    assert second == (
        "Its lead over popularity is significant after Holm's correction (p < .001), that over "
        "history is not."
    )
    _, second, _ = run(figures, [("ranker_a", "history", -0.01, 0.02, 0.4)])
    assert second == "Its lead over history is not significant after Holm's correction."


def test_a_generator_may_be_best() -> None:
    figures = {"popularity": 0.05, "id": 0.1, "history": 0.14, "ranker_a": 0.13}
    # Others are compared with the best generator, so its lead has the other sign.
    leads = [
        ("history", "popularity", 0.08, 0.1, 0.0),
        ("ranker_a", "history", -0.03, 0.01, 0.3),
        ("id", "history", -0.05, -0.03, 0.001),
    ]
    first, second, _ = run(figures, leads)
    assert first == (
        "The generator history is best by ndcg@10 on the test targets with .140, "
        ".010 (95% interval -.010 to .030) more than ranker_a, the second; "
        "no ranker is ahead of it."
    )
    assert second == (
        "Its lead over popularity is significant after Holm's correction (p < .001), that over "
        "ranker_a is not."
    )


def test_a_lead_over_a_second_that_nothing_compares_is_called_untested() -> None:
    figures = {"popularity": 0.05, "history": 0.12, "ranker_b": 0.155, "ranker_a": 0.16}
    leads = [("ranker_a", "history", 0.02, 0.06, 0.0)]
    _, second, _ = run(figures, leads)
    assert second.endswith(
        "(p < .001); that over the second, ranker_b with .155, is not tested: ranker_b is within "
        "the 95% interval .150 to .170 of ranker_a."
    )
    _, second, _ = run(figures, leads, half=0.001)
    assert second.endswith(
        "is not tested: ranker_b is below the 95% interval .159 to .161 of ranker_a."
    )


def test_a_system_alone_is_compared_with_nothing() -> None:
    assert run({"history": 0.12}, []) == [
        "history is the only system: its ndcg@10 on the test targets is .120 "
        "(95% interval .110 to .130).",
        "It is compared with nothing, so nothing is known of its rank.",
        RULE,
    ]


def test_without_a_comparison_the_lead_is_called_untested() -> None:
    first, second, _ = run({"popularity": 0.05, "ease": 0.08}, [])
    assert first.endswith("with .080, .030 more than popularity, the second.")
    assert second == (
        "Its lead over the second, popularity with .050, is not tested: popularity is below the "
        "95% interval .070 to .090 of ease."
    )


def test_a_difference_is_found_in_either_order() -> None:
    rows = [("a", "b", "ndcg@10", 0.1, 0.05, 0.2, 0.01, True)]
    names = ["system", "against", "metric", "difference", "low", "high", "p_holm", "significant"]
    table = pl.DataFrame(rows, schema=names, orient="row")
    assert difference(table, "a", "b") == (0.1, 0.05, 0.2, 0.01, True)
    assert difference(table, "b", "a") == (-0.1, -0.2, -0.05, 0.01, True)
    assert difference(table, "a", "c") is None


def test_the_rule_names_users_targets_cut_and_filter() -> None:
    text = rule_sentence(
        {"test_users": 1942, "test_targets": 1942}, "leave_one_out", "first", "rated"
    )
    assert "1,942 users with one held-out positive each, the last of each user" in text
    assert "none that the user has rated before" in text
    text = rule_sentence({"test_users": 15, "test_targets": 90}, "global", "all", "positives")
    assert "15 users and 90 held-out positives, all after one cut in time, the mean" in text
    assert "none that the user has had as a positive before" in text
    for targets in ("first", "last"):
        text = rule_sentence({"test_users": 9, "test_targets": 9}, "global", targets, "rated")
        assert f"9 users with one held-out positive each, the {targets} of each user after" in text


def validation(figures: dict[str, float]) -> pl.DataFrame:
    rows = [
        (s, metric, value, value - 0.01, value + 0.01)
        for s, value in figures.items()
        for metric in ("ndcg@10", "recall@10")
    ]
    return pl.DataFrame(rows, schema=["system", "metric", "value", "low", "high"], orient="row")


def test_the_served_ranker_is_the_best_by_validation() -> None:
    table = validation({"fusion": 0.12, "ranker_b": 0.13, "ranker_a": 0.15})
    assert served_sentence(table, "ranker_a", RANKERS) == (
        "The served ranker is ranker_a (export.ranker): it is the best ranker on the validation "
        "targets, out of fold (ndcg@10 .150, 95% interval .140 to .160), before ranker_b with "
        ".130. No test figure is part of this comparison."
    )


def test_a_served_ranker_that_is_hardly_ahead_by_validation_says_so() -> None:
    table = validation({"ranker_b": 0.145, "ranker_a": 0.15})
    text = served_sentence(table, "ranker_a", RANKERS)
    assert "before ranker_b with .145, which is within the interval." in text


def test_a_served_ranker_that_another_beats_by_validation_says_so() -> None:
    table = validation({"fusion": 0.12, "ranker_b": 0.125, "ranker_a": 0.13})
    text = served_sentence(table, "ranker_b", RANKERS)
    assert "ranker_a is ahead of it with .130 (ranker_b: ndcg@10 .125" in text
    assert "which is within the interval" in text
    text = served_sentence(validation({"ranker_b": 0.1, "ranker_a": 0.13}), "ranker_b", RANKERS)
    assert "within" not in text


def test_a_served_ranker_behind_the_generators_says_so() -> None:
    table = validation({"ease": 0.16, "fusion": 0.17, "ranker_a": 0.13})
    text = served_sentence(table, "ranker_a", RANKERS)
    assert "; fusion and ease without a ranker are ahead, too." in text


def test_a_served_ranker_that_is_not_measured_says_so() -> None:
    text = served_sentence(validation({"ranker_b": 0.1}), "ranker_a", RANKERS)
    assert text.endswith("it is not measured (leaderboard.exclude).")
    text = served_sentence(validation({"fusion": 0.1}), "ranker_a", RANKERS)
    assert text.endswith("it is not measured (leaderboard.exclude).")


def test_figures_and_lists_as_words() -> None:
    assert [short(0.1234), short(-0.01), short(1.0)] == [".123", "-.010", "1.000"]
    assert [join(["a"]), join(["a", "b"]), join(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
