"""The parts of the pytest plugin, which imports them when a test uses them: see _pytest_plugin.py."""
