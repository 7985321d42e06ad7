"""The report: a comparison as one self-contained page, with charts, films and provenance."""
