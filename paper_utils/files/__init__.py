"""Wing: one reader for each kind of file, and downloads."""
