"""What a model version is, on disk: see FORMAT.md."""
