"""Galaxy spectra companion: models, data and measurements behind the notebooks."""
