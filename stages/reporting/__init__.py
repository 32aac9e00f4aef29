"""The page of the report: its charts, its parts, its example users."""
