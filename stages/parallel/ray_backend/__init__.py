"""The Ray backend. Imported only where `backend` is `ray`."""
