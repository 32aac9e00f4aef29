import polars as pl

from stages.reporting.examples import choose_users, newest_positives, step_heads
from tests.small_tables import catalogue, ranked_lists, user_histories


def test_example_users_have_few_average_and_many_positives() -> None:
    histories = user_histories({user: [1] * (100 - user) for user in range(1, 100)})
    histories = pl.concat([histories, user_histories({500: [1] * 400})])
    users = choose_users(histories, pl.Series(range(1, 100)))
    assert users == [90, 50, 11]  # with 10, 50 and 89 positives; user 500 has no list
    assert choose_users(histories.reverse(), pl.Series(range(1, 100))) == users
    assert choose_users(user_histories({7: [1]}), pl.Series([7])) == [7]


def test_the_newest_positive_is_first() -> None:
    histories = user_histories({1: [3, 1, 2], 2: [1]})
    newest = newest_positives(histories, 1, catalogue(["A", "B", "C"]), 2)
    assert newest["title"].to_list() == ["B", "A"]


def test_a_step_shows_the_ranks_of_its_movies_in_the_steps_before() -> None:
    steps = {
        "first": ranked_lists([(1, 2, 1), (1, 1, 2), (2, 3, 1)]),
        "second": ranked_lists([(1, 1, 1), (1, 3, 2), (1, 2, 3)]),
    }
    heads = step_heads(steps, 1, catalogue(["A", "B", "C"]), 2)
    assert heads["first"].select("rank", "title").rows() == [(1, "B"), (2, "A")]
    rows = heads["second"].select("rank", "title", "rank_first").rows()
    assert rows == [(1, "A", 2), (2, "C", None)]
