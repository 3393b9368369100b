"""Wing: the mock universe: spectra, photometry and images with known truth."""
