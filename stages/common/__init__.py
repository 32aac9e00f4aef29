"""What every stage needs: running, params, names of systems, tables and files."""
