"""Readers that turn published files into the containers of `paper_utils.data`."""
