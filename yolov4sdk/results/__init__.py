"""What is done with boxes after the network: suppression, tiles, tracks, regions."""
