"""What every stage needs: running, params and tables."""
