"""Study 3: spectra from images by conditional diffusion (Doorenbos+ 2024)."""
