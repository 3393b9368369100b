"""Study 1: mid-infrared spectra from photometry (Rissaki+ 2023)."""
