"""The suites whose fixtures are measured: one file per contestant, with a test of each kind."""
