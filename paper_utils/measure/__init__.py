"""The spectroscopist's toolbox, for anyone's spectra: pPXF, FIREFLY, indices, lines, redshifts."""
