-- The sample of Doorenbos+ 2024, Appendix B: galaxies of SDSS at redshift 0.05-0.15 with sound photometry.
-- Runs as it stands in SDSS's CasJobs (context DR17); `companion data get sdss-query` runs it in slices of redshift.
--
-- As printed there, but for
--   the authors' own table MyDB.MyTable_2 (objects of Pasquet+ 2019 with specObjID and objID), for which SpecObj's best
--   photometric match stands: keep of the result those objects that the images have (paper_utils.archives.user does);
--   INTO mydb.spectraGeneration, left out; and plate, mjd and fiberID, added to find the spectra by.
SELECT
-- Ids
S.specObjID, P.objID, P.ra, P.dec, S.plate, S.mjd, S.fiberID,
-- Needed for spectra retrieving
S.firstrelease, S.programname, S.instrument, S.run2d,
-- Redshift and velocity dispersion
S.z, S.zerr, S.velDisp, S.velDispErr,
-- Petrosian radius
P.petroRad_u, P.petroRad_g, P.petroRad_r, P.petroRad_i, P.petroRad_z,
-- Radius containing 90% of Petrosian flux
P.petroR90_u, P.petroR90_g, P.petroR90_r, P.petroR90_i, P.petroR90_z,
-- Magnitude in 3 arcsec diameter fiber radius
P.fiberMag_u, P.fiberMag_g, P.fiberMag_r, P.fiberMag_i, P.fiberMag_z,
-- r-band extinction
P.extinction_r,
-- Overall signal-to-noise-squared measure for plate
S.plateSN2,
-- Surface brightness fit (exponential and de Vaucouleurs)
P.modelMag_u, P.modelMag_g, P.modelMag_r, P.modelMag_i, P.modelMag_z,
P.cmodelMag_u, P.cmodelMag_g, P.cmodelMag_r, P.cmodelMag_i, P.cmodelMag_z,
-- From Galaxy Zoo
Z.p_mg, Z.p_el_debiased, Z.p_cs_debiased, Z.spiral, Z.elliptical, Z.uncertain,
-- Photometric mass estimates
M.logMass AS logMass_Maraston09, CD.logMass AS logMass_ConroyDust, CND.logMass AS logMass_ConroyNoDust

FROM SpecObj AS S
JOIN PhotoObjAll AS P ON S.bestObjID = P.objID
JOIN zooSpec AS Z ON S.specObjID = Z.specObjID
JOIN stellarMassFSPSGranWideDust AS CD ON S.specObjID = CD.specObjID
JOIN stellarMassFSPSGranWideNoDust AS CND ON S.specObjID = CND.specObjID
JOIN stellarMassPassivePort AS M ON S.specObjID = M.specObjID

WHERE
S.class = 'GALAXY' -- only galaxies (spectroscopically)
AND P.mode = 1 -- only objects that are "primary" in the survey
AND S.z >= 0.05 -- minimum redshift
AND S.z <= 0.15 -- maximum redshift
AND S.instrument = 'SDSS' -- spectra from only one instrument

-- Objects with deblending problems
AND (P.flags_r & 0x20) = 0 -- not PEAKCENTER
AND (P.flags_r & 0x80000) = 0 -- not NOTCHECKED
AND ((P.flags_r & 0x400000000000) = 0 OR P.psfmagerr_r <= 0.2) -- high S/N or not DEBLEND_NOPEAK

-- Objects with interpolation problems
AND (P.flags_r & 0x800000000000) = 0 -- not PSF_FLUX_INTERP
-- Printed for BAD_COUNTS_ERROR, which is 0x10000000000: as printed the line excludes INTERP_CENTER.
AND (P.flags_r & 0x100000000000) = 0
AND ((P.flags_r & 0x100000000000) = 0 OR (P.flags_r & 0x1000) = 0) -- not both INTERP_CENTER and CR

-- Suspicious detections: pixels detected in the first pass, not saturated, a valid radial profile
AND (P.flags_r & 0x10000000) != 0 -- BINNED1
AND (P.flags_r & 0x40000) = 0 -- not SATURATED
AND (P.flags_r & 0x80) = 0 -- not NOPROFILE

-- Meaningless values
AND P.petroRad_u > 0 AND P.petroRad_g > 0 AND P.petroRad_r > 0 AND P.petroRad_i > 0 AND P.petroRad_z > 0
AND P.petroR90_u > 0 AND P.petroR90_g > 0 AND P.petroR90_r > 0 AND P.petroR90_i > 0 AND P.petroR90_z > 0
AND P.petroRad_u < 20 AND P.petroRad_g < 20 AND P.petroRad_r < 20 AND P.petroRad_i < 20 AND P.petroRad_z < 20
AND P.petroR90_u < 20 AND P.petroR90_g < 20 AND P.petroR90_r < 20 AND P.petroR90_i < 20 AND P.petroR90_z < 20
AND P.fiberMag_u > 0 AND P.fiberMag_g > 0 AND P.fiberMag_r > 0 AND P.fiberMag_i > 0 AND P.fiberMag_z > 0
AND P.modelMag_u > 0 AND P.modelMag_g > 0 AND P.modelMag_r > 0 AND P.modelMag_i > 0 AND P.modelMag_z > 0
AND P.cmodelMag_u > 0 AND P.cmodelMag_g > 0 AND P.cmodelMag_r > 0 AND P.cmodelMag_i > 0 AND P.cmodelMag_z > 0
