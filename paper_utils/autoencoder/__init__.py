"""Study 2: a redshift-invariant autoencoder of galaxy spectra (Melchior, Hahn & Liang 2022)."""
