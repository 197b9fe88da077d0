"""SVG charts of measured times, readable on light and dark pages, without a plotting library."""
