"""Boxes after the network: suppression, tiles, tracks, regions."""
