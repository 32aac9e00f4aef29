"""What a stage shows while it works: its options, its place in the run, its progress.

No result depends on these modules, so an edit of them makes no stage stale. They import nothing of
`stages`.
"""
