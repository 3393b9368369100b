"""Scores, intervals, coverage, calibration, plain baselines and linear components."""
