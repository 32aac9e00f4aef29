"""Where independent work runs: threads of this process, or a Ray cluster."""
