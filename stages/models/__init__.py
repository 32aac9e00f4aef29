"""What NumPy, FAISS and LightGBM serve."""
