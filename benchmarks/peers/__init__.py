"""Other projects, run as they are: each file here runs in the peers' environment, prints JSON."""
