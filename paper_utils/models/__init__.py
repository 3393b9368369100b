"""The studies' networks, one file per paper's idea; they know tensors and no files."""
