"""Study 4: latents of a spectrum from an image (Wu & Peek 2020)."""
