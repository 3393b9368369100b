"""Study 5: dense networks on ALHAMBRA's catalogue (Cacho 2020)."""
