from stages.evaluation.board import as_markdown

BOARD = {"a": {"x": 0.12345, "a long name": "+"}, "b": {"a long name": 2.0, "hidden": 1.0}}


def test_a_table_is_padded_and_lacks_what_a_system_lacks() -> None:
    assert as_markdown(BOARD, ["x", "a long name"]) == (
        "| system         |          x | a long name |\n"
        "| -------------- | ---------: | ----------: |\n"
        "| a              |     0.1235 |           + |\n"
        "| b              |            |      2.0000 |\n"
    )


def test_the_first_column_is_as_wide_as_the_longest_system() -> None:
    lines = as_markdown({"a" * 17: {"x": 1.0}, "b": {"x": "~"}}, ["x"]).splitlines()
    assert lines == [
        "| system            |          x |",
        f"| {'-' * 17} | ---------: |",
        f"| {'a' * 17} |     1.0000 |",
        "| b                 |          ~ |",
    ]
