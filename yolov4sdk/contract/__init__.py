"""What an artefact says of itself: the spec and the headers it is read from."""
