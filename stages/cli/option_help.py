"""What `--help` says about the options of stages, by the name of the parameter of `main`.

Most names mean the same in every stage; `<stage>.<name>` is for those that do not.
"""

NAME = "a block of params.yaml, or `<stage>@<block>` as in $DVC_STAGE"
OPTIONS = {
    "board": "the JSON file of every system's figures",
    "bundle": "the folder of all that serving needs, as of all ratings",
    "bundle_as_evaluated": "the same folder as of the time of the test",
    "candidates": "the folder of the generators' lists, each in a folder of its name",
    "catalogue": "the table of the movies: id, title, year and genres",
    "curves": "the folder of the learning curves, CSV, one for each retriever",
    "description": "the JSON file that names the data source",
    "embeddings": "the folder of the retrievers' vectors of movies and users",
    "examples": "the folder of the rankers' training rows, by ranker and snapshot",
    "fused": "the folder of the lists of fusion",
    "generators": "the folder of the fitted models of the generators without a tower",
    "genres": "the table of the movies' genres, a 0/1 column for each",
    "histories": "the folder of what each snapshot knows, and of its queries' histories",
    "ids": "the folder of the raw ids of users and movies",
    "importance_tables": "the folder of the features' importance, CSV, one for each ranker",
    "index": "the folder of the retrievers' FAISS indexes",
    "interval_table": "the CSV file of the 95%% intervals",
    "later": "the table of the positives that come after the validation",
    "lists": "the folder of `candidates` and `merged`",
    "merged": "the folder of the merged candidates, by snapshot",
    "metrics": "the JSON file of the stage's figures",
    "model": "the file of a retriever's weights",
    "models": "the folder of the models, each in a folder of its name",
    "movie_ids": "the table of the movies' raw ids",
    "movies": "the folder of the catalogue, the genres and the popularity",
    "plots": "the folder of the charts, Vega-Lite",
    "popularity": "the folder of the movies' numbers of positives, by snapshot",
    "positives": "the table of the positives, one row per user and movie",
    "queries": "the table of the test's queries, without their targets",
    "ranks": "the folder of the targets' ranks, one table for each system",
    "ratings": "the table of the ratings: user, movie, stars and time",
    "raw": "the folder of the raw files",
    "recommendations": "the folder of the lists of fusion and the rankers",
    "report": "the HTML page to write",
    "savedmodel": "the folder of the TensorFlow SavedModel",
    "seen": "the folder of the movies that no list may hold, by snapshot",
    "slices": "the folder of the figures of parts of the users and movies",
    "sources": "the folder of the built-in data sources",
    "split": "the folder of the positives, split by time",
    "tables": "the folder of the tables behind the charts, CSV",
    "targets": "the folder of the targets, one table for each snapshot of the rankers",
    "template": "the HTML page that `dvc plots` fills in",
    "text": "the same figures as a Markdown table",
    "timings": "the CSV file of every stage's seconds in a full run",
    "train": "the table of the positives to train on",
    "val": "the table of the positives that are held out for the validation",
    "values": "the table of every user's metrics on the validation targets",
    "evaluate.metrics": "the folder of the systems' figures, JSON",
    "evaluate.targets": "the table of the test targets",
    "leaderboard.metrics": "the folder of the systems' figures, JSON",
    "plot_tables.metrics": "the folder of all figures",
    "plot_tables.popularity": "the table of the movies' numbers of positives before the test",
    "report.histories": "the table of the histories of the test's queries",
    "report.metrics": "the folder of all figures",
    "train_retrieval.targets": "the table of the inner_val targets, which stop the training",
    "validate.targets": "the table of the validation targets",
}


def option_help(stage: str, name: str) -> str | None:
    """Return the help of the option `name` of a stage, or None if there is none."""
    return OPTIONS.get(f"{stage}.{name}", OPTIONS.get(name))
